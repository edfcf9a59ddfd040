-- time: the store's time of this call, and numbers as text.
-- ARGV.now  ms  the moment of the call; 0: the server's clock
local now = tonumber(ARGV.now)
if now == 0 then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end

-- Lua would write a large number with an exponent, and cut it to 14 digits.
local function text(number)
  return string.format('%.0f', number)
end

local stamp = text(now)
