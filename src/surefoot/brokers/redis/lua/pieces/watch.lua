-- watch: who wakes for the next timer, a due time or the end of a lease. One idle worker, the watcher, sleeps until then;
-- the others sleep for the floor, or until the first lease is lost: the watcher may be the one that died.
-- KEYS.meta       hash  words of the queue
-- KEYS.leases     zset  id by the end of its lease, ms
-- ARGV.lease_ms   ms    how long this worker's leases last
-- ARGV.floor_ms   ms    nobody sleeps longer
-- uses: time house wake
local function first_end()
  return tonumber(redis.call('ZRANGE', KEYS.leases, 0, 0, 'WITHSCORES')[2]) or math.huge
end

-- A lease that has ended and was not recovered is no timer: it would spin.
local function next_end()
  local ends = redis.call('ZRANGEBYSCORE', KEYS.leases, '(' .. stamp, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  return tonumber(ends) or math.huge
end

-- How long this worker may sleep, and the new watch if it takes it.
local function watch_or_sleep(full, due, ends)
  local timer, floor = math.min(due, ends), tonumber(ARGV.floor_ms)
  local watcher, deadline = string.match(watch or '', '^(%S+) (%d+)$')
  deadline = tonumber(deadline)
  if full then
    if watcher == ARGV.caller then -- handover, leave_push: it will not look in time
      redis.call('HDEL', KEYS.meta, 'watch')
      watcher = nil
    end
    if timer < math.huge and not (watcher and deadline >= now and deadline <= timer) then
      wake()
    end
    return floor
  end
  local latest = math.min(timer, now + floor)
  if not watcher or watcher == ARGV.caller or deadline < now or deadline > latest then -- rewatch, timed_wait
    return latest - now, ARGV.caller .. ' ' .. text(latest)
  end
  local slack = math.min(math.floor(ARGV.lease_ms / 5), 2000)
  return math.min(floor, ends + slack - now) -- floor, lease_wait
end
