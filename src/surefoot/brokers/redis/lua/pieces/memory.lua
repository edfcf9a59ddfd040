-- memory: a caller's last answer of this verb. The same number and tag again is answered from here, and changes nothing.
-- KEYS.meta    hash     words of the queue
-- ARGV.caller  text     who calls
-- ARGV.call    integer  its number, growing
-- ARGV.tag     text     the same in each repeat of this call, new in every other
-- uses: time house
if not string.find(ARGV.call, '^%d+$') or string.find(ARGV.tag .. ARGV.caller, '%s') then
  return redis.error_reply('MALFORMED call: a number, and a caller and a tag without spaces')
end
local answer
local number = tonumber(ARGV.call)
if house[7] then
  local last, tag, start = string.match(house[7], '^(%d+) %d+ (%S+)\n()')
  last = tonumber(last) or -1
  if last == number then
    if tag ~= ARGV.tag then
      return redis.error_reply('CALLER two senders use the caller ' .. ARGV.caller)
    end
    answer = string.sub(house[7], start)
  elseif last > number then
    return redis.error_reply('STALE a later call of ' .. ARGV.caller .. ' was answered before')
  end
end

-- Callers that were not used for an hour are dropped, a few at a time: random fields, since nobody lists them.
local function drop_callers(many)
  local seen = redis.call('HRANDFIELD', KEYS.meta, many, 'WITHVALUES')
  for i = 1, #seen, 2 do
    local used = string.sub(seen[i], 1, 5) == 'call:' and string.match(seen[i + 1], '^%d+ (%d+) ')
    if used and tonumber(used) < now - 3600000 then
      redis.call('HDEL', KEYS.meta, seen[i])
    end
  end
end

-- Further words of the queue are written in the same step.
local function remember(said, ...)
  local field, record = 'call:$VERB:' .. ARGV.caller, ARGV.call .. ' ' .. stamp .. ' ' .. ARGV.tag .. '\n' .. said
  if layout then
    redis.call('HSET', KEYS.meta, field, record, ...)
  else
    redis.call('HSET', KEYS.meta, 'layout', '$LAYOUT', 'epoch', begun, field, record, ...)
  end
  if not house[7] then
    drop_callers(4)
  elseif number % 64 == 0 then
    drop_callers(8)
  end
end
