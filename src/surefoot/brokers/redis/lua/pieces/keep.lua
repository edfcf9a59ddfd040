-- keep: a job that is over is kept with how it ended, until its time to be forgotten. Its notes go.
-- KEYS.results  hash  id -> `<state> <finished> <started or 0> <runs> <caller or ->`, newline, result or reason
-- KEYS.kept     zset  id by the time to forget it, ms
-- KEYS.notes    hash  id -> progress
-- uses: time
local function keep(id, state, keep_ms, started, runs, caller, said)
  redis.call('HSET', KEYS.results, id,
    state .. ' ' .. stamp .. ' ' .. started .. ' ' .. runs .. ' ' .. caller .. '\n' .. said)
  redis.call('ZADD', KEYS.kept, keep_ms < 0 and '+inf' or text(now + keep_ms), id)
  redis.call('HDEL', KEYS.notes, id)
end
