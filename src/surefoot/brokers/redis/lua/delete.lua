-- delete: forgets jobs in any place but a lease.
-- KEYS.dead  zset  id by time of death, ms
-- ARGV.rest  text  ids
-- uses: time drains house memory traits keys cancelled ended audit
-- returns: a line each: 1, or 0 for a job that runs or is unknown
-- keeps: a running job is not touched
if answer then
  return answer
end
local words, gone = {}, {}
for i = $REST, #ARGV do
  local id = ARGV[i]
  local place = place_of(id)
    or redis.call('ZSCORE', KEYS.dead, id) and 'dead'
    or redis.call('ZSCORE', KEYS.kept, id) and 'kept'
  if place and place ~= 'leases' then
    release(id, traits_of(id))
    forget({id})
    leave(id)
    redis.call('ZREM', KEYS.dead, id)
    redis.call('ZREM', KEYS.kept, id)
    gone[#gone + 1] = id
    words[#words + 1] = '1'
  else
    words[#words + 1] = '0'
  end
end
ended(gone)
audit('delete', gone)
local said = table.concat(words, '\n')
remember(said)
return said
