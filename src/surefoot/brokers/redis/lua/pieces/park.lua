-- park: a job waits for a worker that can run it; in `parking` it stands by reason, then rank.
-- KEYS.parked   hash  id -> `<parked> <member>`
-- KEYS.parking  zset  `<reason>\x1f<rank + 2^53, 17 digits>\x1f<id>`, all scores 0
-- uses: time enter
local function park(id, reason, rank, priority)
  rank = sound(rank) or ranks({id, priority})[1]
  local member = reason .. '\31' .. string.format('%017.0f', rank + 9007199254740992) .. '\31' .. id
  redis.call('ZADD', KEYS.parking, 0, member)
  redis.call('HSET', KEYS.parked, id, stamp .. ' ' .. member)
end

local function unpark(id, record)
  local member = string.match(record, '^%d+ (.*)$')
  if member then
    redis.call('ZREM', KEYS.parking, member)
  end
  redis.call('HDEL', KEYS.parked, id)
end
