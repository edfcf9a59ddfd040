-- lease: hands jobs out.
-- KEYS.jobs        hash  id -> `<enqueued>\n<envelope>`
-- KEYS.leases      zset  id by the end of its lease, ms
-- KEYS.held        hash  id -> `<token> <rank> <since>` of the running lease
-- ARGV.lease_ms    ms    how long the leases last
-- uses: time house memory chunks
local token = ARGV.caller .. '.' .. ARGV.call
local ids, bodies, orphans = {}, {}, {}

-- `jobs`: id, rank, id, rank, ... Their ids, what the store holds of them, and whether it holds something of each.
local function looked_up(jobs)
  local wanted, whole = {}, true
  for i = 1, #jobs / 2 do
    wanted[i] = jobs[2 * i - 1]
  end
  local found = gather(wanted, function(...) return redis.call('HMGET', KEYS.jobs, ...) end)
  for i = 1, #wanted do
    whole = whole and found[i]
  end
  return wanted, found, whole
end

-- The caller takes them out of their place.
local function hand_out(jobs, found)
  local leases, holds, many = {}, {}, #ids
  local ends, holder, since = text(now + tonumber(ARGV.lease_ms)), token .. ' ', ' ' .. stamp
  for i = 1, #jobs / 2 do
    local id = jobs[2 * i - 1]
    leases[2 * i - 1], leases[2 * i] = ends, id
    holds[2 * i - 1], holds[2 * i] = id, holder .. jobs[2 * i] .. since
    ids[many + i], bodies[many + i] = id, found[i]
  end
  each(leases, function(...) redis.call('ZADD', KEYS.leases, ...) end)
  each(holds, function(...) redis.call('HSET', KEYS.held, ...) end)
end
