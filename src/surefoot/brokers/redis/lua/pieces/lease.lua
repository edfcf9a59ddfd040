-- lease: hands jobs out, but for those that cannot run here: without a body a job is dead, a newer one is parked.
-- KEYS.jobs        hash  id -> `<enqueued>\n<envelope>`
-- KEYS.traits      hash  id -> JSON
-- KEYS.leases      zset  id by the end of its lease, ms
-- KEYS.held        hash  id -> `<token> <rank> <since>` of the running lease
-- ARGV.lease_ms    ms    how long the leases last
-- uses: time house memory chunks traits park keys bury
local token = ARGV.caller .. '.' .. ARGV.call
local ids, bodies, orphans = {}, {}, {}

-- `jobs`: id, rank, id, rank, ... The caller takes the ids that come back out of their place.
local function lease(jobs)
  local wanted, leases, holds = {}, {}, {}
  for i = 1, #jobs, 2 do
    wanted[#wanted + 1] = jobs[i]
  end
  local found = gather(wanted, function(...) return redis.call('HMGET', KEYS.jobs, ...) end)
  local traits = redis.call('EXISTS', KEYS.traits) == 1
    and gather(wanted, function(...) return redis.call('HMGET', KEYS.traits, ...) end) or {}
  local ends, holder, since = text(now + tonumber(ARGV.lease_ms)), token .. ' ', ' ' .. stamp
  for i, id in ipairs(wanted) do
    local rank, about = jobs[2 * i], traits_in(traits[i])
    local reason = newer(about)
    if not found[i] then
      redis.call('HSET', KEYS.jobs, id, stamp .. '\n')
      bury(id, 'body_lost', '', about)
      orphans[#orphans + 1] = id
    elseif reason then
      park(id, reason, rank, priority_of(about))
    else
      if about.unique_until == 'start' then
        release(id, about)
      end
      ids[#ids + 1], bodies[#bodies + 1] = id, found[i]
      leases[#leases + 1], leases[#leases + 2] = ends, id
      holds[#holds + 1], holds[#holds + 2] = id, holder .. rank .. since
    end
  end
  each(leases, function(...) redis.call('ZADD', KEYS.leases, ...) end)
  each(holds, function(...) redis.call('HSET', KEYS.held, ...) end)
  return wanted
end
