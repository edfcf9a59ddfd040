-- wake: one idle worker is to look. A token that already lies there will bring it.
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
