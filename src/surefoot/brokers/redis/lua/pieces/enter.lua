-- enter: into pending at the tail of a priority. The only way in, but for a hand-back to the old rank.
-- KEYS.meta     hash  words of the queue
-- KEYS.pending  zset  id by rank
-- uses: time chunks
-- A rank is (priority - 5) * 2^50 + a counter in steps of 64; the places between two are kept free.
-- `jobs`: id, priority (text), id, priority, ...
local function ranks(jobs)
  local many, last, given = {}, {}, {}
  for i = 2, #jobs, 2 do
    many[jobs[i]] = (many[jobs[i]] or 0) + 1
  end
  for priority, count in pairs(many) do
    last[priority] = redis.call('HINCRBY', KEYS.meta, 'tail:' .. priority, text(64 * count)) - 64 * count
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
