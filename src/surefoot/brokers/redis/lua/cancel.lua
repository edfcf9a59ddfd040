-- cancel: ends waiting jobs, asks running ones.
-- KEYS.cancels  hash  id -> reason of a cancel request
-- ARGV.keep_ms  ms    how long what ended is kept; -1: for ever
-- ARGV.reason   text  may be empty
-- ARGV.rest     text  ids
-- uses: time drains house memory traits keys cancelled stats ended audit
-- returns: a line each: cancelled, requested, finished
-- keeps: the first request to a running job stands
if answer then
  return answer
end
local words, over, met = {}, {}, {}
for i = $REST, #ARGV do
  local id = ARGV[i]
  local place, word = place_of(id), 'finished'
  if place == 'leases' then
    redis.call('HSETNX', KEYS.cancels, id, ARGV.reason)
    word = 'requested'
    met[#met + 1] = id
  elseif place then
    release(id, traits_of(id))
    end_waiting(id, tonumber(ARGV.keep_ms), ARGV.reason)
    over[#over + 1] = id
    met[#met + 1] = id
    word = 'cancelled'
  end
  words[#words + 1] = word
end
ended(over)
count({cancelled = #over > 0 and #over or nil})
audit('cancel', met, ARGV.reason)
local said = table.concat(words, '\n')
remember(said)
return said
