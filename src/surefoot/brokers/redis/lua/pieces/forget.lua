-- forget: nothing is known of these jobs any more. The caller takes them out of their place.
-- KEYS.jobs     hash  id -> `<enqueued>\n<envelope>`
-- KEYS.traits   hash  id -> JSON
-- KEYS.counts   hash  id -> how its runs ended
-- KEYS.errors   hash  id -> lines of JSON
-- KEYS.notes    hash  id -> progress
-- KEYS.results  hash  id -> how it ended
-- KEYS.kept     zset  id by the time to forget it, ms
-- uses: time chunks
local function forget(ids)
  each(ids, function(...)
    redis.call('HDEL', KEYS.jobs, ...)
    if redis.call('EXISTS', KEYS.traits, KEYS.counts, KEYS.errors, KEYS.notes, KEYS.results) > 0 then
      redis.call('HDEL', KEYS.traits, ...)
      redis.call('HDEL', KEYS.counts, ...)
      redis.call('HDEL', KEYS.errors, ...)
      redis.call('HDEL', KEYS.notes, ...)
      redis.call('HDEL', KEYS.results, ...)
    end
  end)
end

local function forget_over(most)
  local over = redis.call('ZRANGEBYSCORE', KEYS.kept, '-inf', stamp, 'LIMIT', 0, most)
  forget(over)
  each(over, function(...) redis.call('ZREM', KEYS.kept, ...) end)
  return #over
end
