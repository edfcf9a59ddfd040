-- keep: jobs that are over are kept with how they ended, until their time to be forgotten. Their notes go.
-- KEYS.results  hash  id -> `<state> <finished> <started or 0> <runs> <caller or ->`, newline, result or reason
-- KEYS.kept     zset  id by the time to forget it, ms
-- KEYS.notes    hash  id -> progress
-- uses: time chunks
local to_keep = {ids = {}, results = {}, times = {}}

local function keep(id, state, keep_ms, started, runs, caller, said)
  local ids, results, times = to_keep.ids, to_keep.results, to_keep.times
  ids[#ids + 1] = id
  results[#results + 1] = id
  results[#results + 1] = state .. ' ' .. stamp .. ' ' .. started .. ' ' .. runs .. ' ' .. caller .. '\n' .. said
  times[#times + 1] = keep_ms < 0 and '+inf' or text(now + keep_ms)
  times[#times + 1] = id
end

-- Writes what is to be kept. The caller takes the jobs out of their old place after it.
local function write_kept()
  each(to_keep.results, function(...) redis.call('HSET', KEYS.results, ...) end)
  each(to_keep.times, function(...) redis.call('ZADD', KEYS.kept, ...) end)
  each(to_keep.ids, function(...) redis.call('HDEL', KEYS.notes, ...) end)
  to_keep = {ids = {}, results = {}, times = {}}
end
