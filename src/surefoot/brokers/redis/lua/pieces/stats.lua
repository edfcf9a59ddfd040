-- stats: adds to the numbers of this minute, and to those since the beginning.
-- KEYS.stats  hash  minute % 1440, or all -> `<minute or ->` and the events' numbers in this order
-- uses: time
local EVENTS = {'enqueued', 'completed', 'failed', 'retried', 'dead', 'cancelled', 'expired', 'recovered'}

local function added(record, events, first)
  local words, rest = {first}, ''
  if record then
    local numbers = {string.match(record, '^(%S+)' .. string.rep(' (%d+)', #EVENTS) .. '(.*)$')}
    if numbers[1] == first then
      words, rest = numbers, table.remove(numbers)
    end
  end
  for i, event in ipairs(EVENTS) do
    words[i + 1] = string.format('%.0f', (words[i + 1] or 0) + (events[event] or 0))
  end
  return table.concat(words, ' ') .. rest
end

local function count(events)
  if next(events) then
    local minute = math.floor(now / 60000)
    local slot = text(minute % 1440)
    local rows = redis.call('HMGET', KEYS.stats, slot, 'all')
    redis.call('HSET', KEYS.stats, slot, added(rows[1], events, text(minute)), 'all', added(rows[2], events, '-'))
  end
end
