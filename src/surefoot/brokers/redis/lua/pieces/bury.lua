-- bury: into the dead letters. `line` is the run's error line; without one the store writes why.
-- KEYS.dead  zset  id by time of death, ms
-- uses: time errors keys
local function bury(id, reason, line, traits)
  redis.call('ZADD', KEYS.dead, stamp, id)
  add_error(id, line ~= '' and line or '{"reason":"' .. reason .. '","ended_ms":' .. stamp .. '}')
  release(id, traits)
end
