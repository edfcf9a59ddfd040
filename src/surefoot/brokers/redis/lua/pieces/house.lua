-- house: what is set on the queue. Another layout than ours is refused before anything is written.
-- KEYS.meta    hash  words of the queue
-- ARGV.caller  text  who calls
-- uses: time
local house = redis.call('HMGET', KEYS.meta, 'layout', 'paused', 'watch', 'pruned', 'max_length', 'epoch',
  'call:$VERB:' .. ARGV.caller)
local layout, paused, watch, pruned, epoch = house[1], house[2], house[3], tonumber(house[4] or 0) or 0, house[6]
if layout and layout ~= '$LAYOUT' then
  return redis.error_reply('LAYOUT ' .. layout)
end

-- The first write marks the queue as ours, and as begun by this caller at this time.
local begun = ARGV.caller .. '.' .. stamp

local function found()
  if not layout then
    layout, epoch = '$LAYOUT', begun
    redis.call('HSET', KEYS.meta, 'layout', layout, 'epoch', epoch)
  end
end
