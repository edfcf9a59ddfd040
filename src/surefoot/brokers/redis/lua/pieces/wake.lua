-- wake: one idle worker is to look. A token that already lies there will bring it. What rings, by rule:
--   put_push     whatever makes a job claimable: put, tick, effects, hand-back, retry at once, requeue, move, park
--   timer_push   a put, settle or move that brings an earlier due time
--   pass_on      a claim that leaves pending jobs behind
--   handover     a claim that fills its worker, if nobody watches the next timer; leave_push: one that wants nothing
--   resume_push  a queue that is resumed
-- The rules of those who sleep stand in watch.lua: rewatch, timed_wait, lease_wait, floor.
-- KEYS.wake       list  at most one token
-- KEYS.scheduled  zset  id by due time, ms
local function wake()
  if redis.call('LLEN', KEYS.wake) < 1 then
    redis.call('LPUSH', KEYS.wake, '1')
  end
end

-- The next due time, the timer of whoever watches: an earlier one than before wakes.
local function first_due()
  return tonumber(redis.call('ZRANGE', KEYS.scheduled, 0, 0, 'WITHSCORES')[2]) or math.huge
end
