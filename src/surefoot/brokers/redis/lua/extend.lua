-- extend: renews leases, stores notes, tells of cancel requests.
-- KEYS.held      hash     id -> `<token> <rank> <since>` of the running lease
-- KEYS.notes     hash     id -> progress
-- KEYS.cancels   hash     id -> reason of a cancel request
-- ARGV.lease_ms  ms       how long they last from now
-- ARGV.many      integer  how many leases follow
-- ARGV.rest      text     3 a lease: id, token, "+" and the new note, or ""
-- uses: time drains house chunks
-- returns: a line each: ok, lost, cancel:<reason>
-- keeps: never shortens a lease; one that ended is good until somebody took the job
local ids, many = {}, tonumber(ARGV.many)
for i = 1, many do
  ids[i] = ARGV[$REST + 3 * i - 3]
end
local held = gather(ids, function(...) return redis.call('HMGET', KEYS.held, ...) end)
local asked = redis.call('EXISTS', KEYS.cancels) == 1
local ends, said = text(now + tonumber(ARGV.lease_ms)), {}
for i, id in ipairs(ids) do
  local token, note = ARGV[$REST + 3 * i - 2], ARGV[$REST + 3 * i - 1]
  if not held[i] or string.sub(held[i], 1, #token + 1) ~= token .. ' ' then
    said[i] = 'lost'
  else
    redis.call('ZADD', KEYS.leases, 'XX', 'GT', ends, id)
    if note ~= '' then
      redis.call('HSET', KEYS.notes, id, string.sub(note, 2))
    end
    local reason = asked and redis.call('HGET', KEYS.cancels, id)
    said[i] = reason and 'cancel:' .. reason or 'ok'
  end
end
return said
