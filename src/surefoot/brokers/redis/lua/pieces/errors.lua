-- errors: the last ten error lines of a job, newest first, each at most 16 KiB.
-- KEYS.errors  hash  id -> lines of JSON
local function add_error(id, line)
  line = string.gsub(string.sub(line, 1, 16384), '\n', ' ')
  local older = redis.call('HGET', KEYS.errors, id)
  local many, last = 1, 0
  while older and many < 10 and last do
    many, last = many + 1, string.find(older, '\n', last + 1, true)
  end
  if older then
    line = line .. '\n' .. (last and string.sub(older, 1, last - 1) or older)
  end
  redis.call('HSET', KEYS.errors, id, line)
end
