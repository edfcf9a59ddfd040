-- keys: who holds a unique key. A holder that is gone holds nothing; one for a period holds it until its end.
-- KEYS.jobs          hash  id -> `<enqueued>\n<envelope>`
-- KEYS.unique        hash  `<task> <key>` -> id of the holder
-- KEYS.unique_until  zset  `<task> <key>` by the end of its period, ms
-- uses: time chunks
local function owner_of(key)
  local id = redis.call('HGET', KEYS.unique, key)
  if not id then
    return nil
  end
  local ends = redis.call('ZSCORE', KEYS.unique_until, key)
  if ends then
    return tonumber(ends) > now and id or nil
  end
  return redis.call('HEXISTS', KEYS.jobs, id) == 1 and id or nil
end

local function release(id, traits)
  local key = traits.unique
  if key and redis.call('HGET', KEYS.unique, key) == id and not redis.call('ZSCORE', KEYS.unique_until, key) then
    redis.call('HDEL', KEYS.unique, key)
  end
end

local function drop_periods(most)
  local over = redis.call('ZRANGEBYSCORE', KEYS.unique_until, '-inf', stamp, 'LIMIT', 0, most)
  each(over, function(...)
    redis.call('HDEL', KEYS.unique, ...)
    redis.call('ZREM', KEYS.unique_until, ...)
  end)
end
