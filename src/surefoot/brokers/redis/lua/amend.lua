-- amend: another envelope for a dead job. The one exception to "an envelope is never changed".
-- KEYS.jobs      hash   id -> `<enqueued>\n<envelope>`
-- KEYS.dead      zset   id by time of death, ms
-- ARGV.id        text   the job
-- ARGV.envelope  bytes  the new one
-- uses: time house memory audit
-- returns: amended, not_dead
-- keeps: the first write grows, so that a full server refuses the whole call
if answer then
  return answer
end
local said = 'not_dead'
if redis.call('ZSCORE', KEYS.dead, ARGV.id) then
  local enqueued = string.match(redis.call('HGET', KEYS.jobs, ARGV.id) or '', '^%d+') or stamp
  local refused = redis.pcall('HSET', KEYS.jobs, ARGV.id, enqueued .. '\n' .. ARGV.envelope)
  if type(refused) == 'table' and refused.err then
    return refused
  end
  said = 'amended'
  audit('edit', {ARGV.id})
end
remember(said)
return said
