-- move: another due time for waiting jobs.
-- ARGV.due   text  "" now, "+ms" after now, or ms
-- ARGV.rest  text  ids
-- uses: time drains house memory enter wake traits counts park cancelled store
-- returns: a line each: 1, or 0 for a job that does not wait
-- keeps: a job that runs or is over is not touched; a pending one that is due now keeps its place
if answer then
  return answer
end
local due, first, wakes, words = due_of(ARGV.due), first_due(), false, {}
for i = $REST, #ARGV do
  local id = ARGV[i]
  local place = place_of(id)
  if place and place ~= 'leases' then
    local counts, rest = counts_of(redis.call('HGET', KEYS.counts, id))
    set_due(id, counts, rest, text(due or now))
    local record = place == 'parked' and redis.call('HGET', KEYS.parked, id)
    if due then
      redis.call('ZADD', KEYS.scheduled, text(due), id)
      redis.call('ZREM', KEYS.pending, id)
    elseif place ~= 'pending' then
      enter({id, priority_of(traits_of(id))})
      redis.call('ZREM', KEYS.scheduled, id)
      wakes = true
    end
    if record then
      unpark(id, record)
    end
    words[#words + 1] = '1'
  else
    words[#words + 1] = '0'
  end
end
if wakes or first_due() < first then
  wake() -- put_push, timer_push
end
local said = table.concat(words, '\n')
remember(said)
return said
