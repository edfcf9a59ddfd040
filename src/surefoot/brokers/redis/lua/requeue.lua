-- requeue: dead jobs go to the tail of pending, their keys taken again.
-- KEYS.dead  zset  id by time of death, ms
-- ARGV.rest  text  ids
-- uses: time drains house memory enter wake traits keys counts
-- returns: a line each: requeued, taken:<id>, not_dead
-- keeps: runs only grow; a key has one holder
if answer then
  return answer
end
local words, back = {}, {}
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
      set_due(id, counts, rest, stamp)
      enter({id, priority_of(about)})
      redis.call('ZREM', KEYS.dead, id)
      back[#back + 1] = id
      word = 'requeued'
    end
  end
  words[#words + 1] = word
end
if #back > 0 then
  wake() -- put_push
end
local said = table.concat(words, '\n')
remember(said)
return said
