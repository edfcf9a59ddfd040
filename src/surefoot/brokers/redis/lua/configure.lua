-- configure: sets what is given, answers what is set now.
-- KEYS.meta        hash  words of the queue
-- ARGV.paused      text  "" as it is, "-" resume, "+" and a reason: pause
-- ARGV.max_length  text  "" as it is, "-" no limit, or the most jobs that may wait
-- ARGV.cron        text  "" none, or the entry to change
-- ARGV.cron_word   text  "-" resume the entry, "+" and a reason: pause it
-- uses: time drains house wake
-- returns: the word of the pause (`<since> <reason>`) or nil, the most jobs that may wait or nil
-- keeps: who is paused again keeps its first moment
local function word_of(before, said)
  if said == '-' then
    return false
  end
  return (string.match(before or '', '^%d+') or stamp) .. ' ' .. string.sub(said, 2)
end

local function set(name, word)
  if word then
    redis.call('HSET', KEYS.meta, name, word)
  else
    redis.call('HDEL', KEYS.meta, name)
  end
end

found()
local max_length = house[5]
if ARGV.paused ~= '' then
  paused = word_of(paused, ARGV.paused)
  set('paused', paused)
  if not paused then
    wake() -- resume_push
  end
end
if ARGV.max_length ~= '' then
  max_length = ARGV.max_length ~= '-' and ARGV.max_length
  set('max_length', max_length)
end
if ARGV.cron ~= '' then
  local name = 'cron_paused:' .. ARGV.cron
  set(name, word_of(redis.call('HGET', KEYS.meta, name), ARGV.cron_word))
end
return {paused, max_length}
