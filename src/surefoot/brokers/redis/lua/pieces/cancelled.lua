-- cancelled: jobs that wait end as cancelled, and leave their place.
-- KEYS.pending    zset  id by rank
-- KEYS.scheduled  zset  id by due time, ms
-- KEYS.parked     hash  id -> `<parked> <member>`
-- KEYS.counts     hash  id -> how its runs ended
-- KEYS.leases     zset  id by the end of its lease, ms
-- uses: park forget keep counts
-- The keys are the caller's to release.
local function leave(id)
  redis.call('ZREM', KEYS.pending, id)
  redis.call('ZREM', KEYS.scheduled, id)
  local record = redis.call('HGET', KEYS.parked, id)
  if record then
    unpark(id, record)
  end
end

local function end_waiting(id, keep_ms, reason)
  if keep_ms == 0 then
    forget({id})
  else
    keep(id, 'cancelled', keep_ms, '0', counts_of(redis.call('HGET', KEYS.counts, id)).runs, '-', reason)
    write_kept()
  end
  leave(id)
end

-- Where a job waits, "leases" if it runs, nil in any other place.
local function place_of(id)
  if redis.call('ZSCORE', KEYS.pending, id) then
    return 'pending'
  end
  if redis.call('ZSCORE', KEYS.scheduled, id) then
    return 'scheduled'
  end
  if redis.call('HEXISTS', KEYS.parked, id) == 1 then
    return 'parked'
  end
  return redis.call('ZSCORE', KEYS.leases, id) and 'leases' or nil
end
