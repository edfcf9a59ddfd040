-- configure: sets what is given, answers what is set now.
-- KEYS.meta        hash  words of the queue
-- ARGV.paused      text  "" as it is, "-" resume, "+" and a reason: pause
-- ARGV.max_length  text  "" as it is, "-" no limit, or the most jobs that may wait
-- ARGV.cron        text  "" none, or the entry to change
-- ARGV.cron_word   text  "-" resume the entry, "+" and a reason: pause it
-- uses: time drains house memory wake audit
-- returns: the most jobs that may wait or -, newline, the word of the pause (`<since> <reason>`) or nothing
-- keeps: who is paused again keeps its first moment; what was set already is no change
if answer then
  return answer
end
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

-- A pause or its end, of the queue or of a cron entry.
local function hold(name, before, said, about, suffix)
  local word = word_of(before, said)
  set(name, word)
  if word ~= before then
    audit((word and 'pause' or 'resume') .. suffix, {about}, string.sub(said, 2))
  end
  return word
end

local max_length = house[5]
if ARGV.paused ~= '' then
  paused = hold('paused', paused, ARGV.paused, '', '')
  if not paused then
    wake() -- resume_push
  end
end
if ARGV.max_length ~= '' then
  local before = max_length
  max_length = ARGV.max_length ~= '-' and ARGV.max_length
  set('max_length', max_length)
  if max_length ~= before then
    audit('limit', {max_length or 'none'})
  end
end
if ARGV.cron ~= '' then
  local name = 'cron_paused:' .. ARGV.cron
  hold(name, redis.call('HGET', KEYS.meta, name), ARGV.cron_word, ARGV.cron, '_cron')
end
local said = (max_length or '-') .. '\n' .. (paused or '')
remember(said)
return said
