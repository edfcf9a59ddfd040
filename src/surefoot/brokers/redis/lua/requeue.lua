-- requeue: dead jobs go to the tail of pending, at once or one after the other, their keys taken again.
-- KEYS.dead      zset     id by time of death, ms
-- ARGV.every_us  integer  microseconds between two of them; 0: all at once
-- ARGV.first_ms  ms       how long the first one waits
-- ARGV.rest      text     ids
-- uses: time drains house memory enter wake traits keys counts audit
-- returns: a line each: requeued, taken:<id>, not_dead
-- keeps: runs only grow; a key has one holder
if answer then
  return answer
end
local words, back, wakes, first = {}, {}, false, first_due()
local every_ms, first_ms = tonumber(ARGV.every_us) / 1000, tonumber(ARGV.first_ms)
for i = $REST, #ARGV do
  local id, word = ARGV[i], 'not_dead'
  if redis.call('ZSCORE', KEYS.dead, id) then
    local about = traits_of(id)
    local key = not tonumber(about.unique_until) and about.unique -- a period is not taken again
    local owner = key and owner_of(key)
    if owner then
      word = 'taken:' .. owner
    else
      if key then
        redis.call('HSET', KEYS.unique, key, id)
        redis.call('ZREM', KEYS.unique_until, key)
      end
      local counts, rest = counts_of(redis.call('HGET', KEYS.counts, id))
      counts.failures, counts.crashes = 0, 0
      local wait_ms = first_ms + math.floor(#back * every_ms)
      set_due(id, counts, rest, text(now + wait_ms))
      if wait_ms > 0 then
        redis.call('ZADD', KEYS.scheduled, text(now + wait_ms), id)
      else
        enter({id, priority_of(about)})
        wakes = true
      end
      redis.call('ZREM', KEYS.dead, id)
      back[#back + 1] = id
      word = 'requeued'
    end
  end
  words[#words + 1] = word
end
if wakes or first_due() < first then
  wake() -- put_push, timer_push
end
audit('requeue', back)
local said = table.concat(words, '\n')
remember(said)
return said
