-- prune: forgets what is over, in bounded bites.
-- KEYS.dead         zset     id by time of death, ms
-- KEYS.parked       hash     id -> `<parked> <member>`
-- KEYS.workers      hash     caller -> `<seen> <presence JSON>`
-- ARGV.dead_max     integer  the most dead letters to keep; -1: any
-- ARGV.dead_age_ms  ms       the oldest dead letter to keep; -1: any
-- ARGV.unknown_ms   ms       how long a job may wait for a task that nobody knows
-- ARGV.limit        integer  the most jobs that go
-- uses: time drains house chunks traits park keys stats ended forget bury
-- returns: how many went or died; fewer than limit: all is done
-- keeps: a dead letter goes only where a worker gave a count or an age
found()
local limit, dead_max, dead_age = tonumber(ARGV.limit), tonumber(ARGV.dead_max), tonumber(ARGV.dead_age_ms)

local function drop_dead(ids)
  forget(ids)
  each(ids, function(...) redis.call('ZREM', KEYS.dead, ...) end)
  return #ids
end

-- A number that somebody else spoiled begins anew.
local function count_on(total, many)
  if many > 0 and type(redis.pcall('HINCRBY', KEYS.meta, total, text(many))) == 'table' then
    redis.call('HSET', KEYS.meta, total, text(many))
  end
end

local gone = 0
local beyond = dead_max >= 0 and redis.call('ZCARD', KEYS.dead) - dead_max or 0
if beyond > 0 then
  gone = drop_dead(redis.call('ZRANGE', KEYS.dead, 0, math.min(beyond, limit) - 1))
end
if dead_age >= 0 then
  local before = '(' .. text(now - dead_age)
  gone = gone + drop_dead(redis.call('ZRANGEBYSCORE', KEYS.dead, '-inf', before, 'LIMIT', 0, limit - gone))
end
local forgotten = forget_over(limit - gone)
count_on('total:pruned', gone)
count_on('total:forgotten', forgotten)
gone = gone + forgotten
drop_periods(limit)

local workers = redis.call('HGETALL', KEYS.workers)
for i = 1, #workers, 2 do
  local seen = tonumber(string.match(workers[i + 1], '^%d+') or 0)
  if seen < now - 600000 or seen == math.huge then
    redis.call('HDEL', KEYS.workers, workers[i])
  end
end

-- Jobs parked for a task that nobody has known for too long. The next prune goes on where this one stops.
local stopped = redis.call('HGET', KEYS.meta, 'prune_at') or ''
local cursor, looked, unknown = #stopped < 20 and string.match(stopped, '^%d+$') or '0', 0, {}
repeat
  local page = redis.call('HSCAN', KEYS.parked, cursor, 'COUNT', 100)
  local full = false
  for i = 1, #page[2], 2 do
    local id, since, reason = page[2][i], string.match(page[2][i + 1], '^(%d+) ([^\31]*)')
    if since and tonumber(since) < now - tonumber(ARGV.unknown_ms) and string.sub(reason, 1, 5) == 'task:' then
      full = gone + #unknown >= limit
      if full then
        break
      end
      unknown[#unknown + 1] = id
    end
  end
  looked = looked + 100
  cursor = full and cursor or page[1]
until full or cursor == '0' or looked >= 10000
for _, id in ipairs(unknown) do
  bury(id, 'unknown', '', traits_of(id))
  unpark(id, redis.call('HGET', KEYS.parked, id))
end
ended(unknown)
count({dead = #unknown > 0 and #unknown or nil})
redis.call('HSET', KEYS.meta, 'pruned', stamp, 'prune_at', cursor)
return gone + #unknown
