-- stats: adds to the numbers of this minute and this hour, and to those since the beginning. One read, one write.
-- KEYS.stats  hash  minute % 1440, h<hour % 720>, or all -> `<minute, hour or ->` and the events' numbers in this order;
--                   t<minute % 1440>, ht<hour % 720> -> `<minute or hour>` and how long jobs waited and ran: how many
--                   times fell into each bucket, as MessagePack
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

-- A table as it was packed; an empty one for what somebody else wrote.
local function unpacked(packed)
  local fine, found = pcall(cmsgpack.unpack, packed)
  return fine and type(found) == 'table' and found or {}
end

local function merged(record, times, first)
  local before, packed = string.match(record or '', '^(%d+) (.+)$')
  local all = before == first and unpacked(packed) or {}
  for bucket, many in pairs(times) do
    all[bucket] = (tonumber(all[bucket]) or 0) + many
  end
  return first .. ' ' .. cmsgpack.pack(all)
end

-- `times`: how long the runs of this call waited and lasted, packed; "" or nil: there were none.
local function count(events, times)
  times = unpacked(times or '')
  local timed = next(times)
  if not next(events) and not timed then
    return
  end
  local minute, hour = math.floor(now / 60000), math.floor(now / 3600000)
  local slot, hour_slot = text(minute % 1440), text(hour % 720)
  minute, hour = text(minute), text(hour)
  local fields = {slot, 'all', 'h' .. hour_slot}
  if timed then
    fields[4], fields[5] = 't' .. slot, 'ht' .. hour_slot
  end
  local rows = redis.call('HMGET', KEYS.stats, unpack(fields))
  local words = {slot, added(rows[1], events, minute), 'all', added(rows[2], events, '-'), fields[3],
    added(rows[3], events, hour)}
  if timed then
    words[7], words[8] = fields[4], merged(rows[4], times, minute)
    words[9], words[10] = fields[5], merged(rows[5], times, hour)
  end
  redis.call('HSET', KEYS.stats, unpack(words))
end
