-- enter: into pending at the tail of a priority. The only way in, but for a hand-back to the old rank.
-- KEYS.meta     hash  words of the queue
-- KEYS.pending  zset  id by rank
-- uses: time chunks
-- A rank is (priority - 5) * 2^50 + a counter in steps of 64; the places between two are kept free.
-- The counter of a priority, moved on. One that somebody else spoiled goes on behind the last pending job.
local function tail_of(priority, steps)
  local tail = redis.pcall('HINCRBY', KEYS.meta, 'tail:' .. priority, text(steps))
  if type(tail) == 'number' then
    return tail
  end
  local low = (tonumber(priority) - 5) * 1125899906842624
  local high = low + 1125899906842560
  local last = redis.call('ZREVRANGEBYSCORE', KEYS.pending, text(high), text(low), 'WITHSCORES', 'LIMIT', 0, 1)[2]
  tail = (last and 64 * math.ceil((last - low) / 64) or 0) + steps
  redis.call('HSET', KEYS.meta, 'tail:' .. priority, text(tail))
  return tail
end

-- A rank as it was, nil if somebody else wrote something in its place.
local function sound(rank)
  local number = tonumber(rank)
  return number and number > -9007199254740992 and number < 9007199254740992 and rank or nil
end

-- `jobs`: id, priority (text), id, priority, ...
local function ranks(jobs)
  local many, last, given = {}, {}, {}
  for i = 2, #jobs, 2 do
    many[jobs[i]] = (many[jobs[i]] or 0) + 1
  end
  for priority, count in pairs(many) do
    last[priority] = tail_of(priority, 64 * count) - 64 * count
  end
  for i = 2, #jobs, 2 do
    local priority = jobs[i]
    last[priority] = last[priority] + 64
    given[i / 2] = text((tonumber(priority) - 5) * 1125899906842624 + last[priority])
  end
  return given
end

local function enter(jobs)
  local entries = {}
  for i, rank in ipairs(ranks(jobs)) do
    entries[2 * i - 1], entries[2 * i] = rank, jobs[2 * i - 1]
  end
  each(entries, function(...) redis.call('ZADD', KEYS.pending, ...) end)
end
