-- tick: fires one tick of a cron entry once, whoever asks.
-- ARGV.name     text  the entry
-- ARGV.tick_ms  ms    the moment of the tick
-- ARGV.keep_ms  ms    how long a job that is replaced is kept; -1: for ever
-- ARGV.rest     text  8 words of one job, as put has them
-- uses: time house memory store
-- returns: created, exists, taken:<id>, replaced:<id>, full, past, early, paused
-- keeps: one job a tick; a tick stored more than 60 s ahead of the store's time is a wrong clock's, and counts as unset
if answer then
  return answer
end
local said
local tick, latest = tonumber(ARGV.tick_ms), now + 60000
local cron = redis.call('HMGET', KEYS.meta, 'tick:' .. ARGV.name, 'cron_paused:' .. ARGV.name)
local last = tonumber(cron[1] or nil)
if last and tick <= last and last <= latest then
  said = 'past'
elseif tick > latest then
  said = 'early'
elseif cron[2] then
  said = 'paused'
else
  local verdicts, refused = store($REST, 1, tonumber(house[5] or -1) or -1, tonumber(ARGV.keep_ms))
  if refused then
    return refused
  end
  said = verdicts[1]
end
if said == 'past' or said == 'early' or said == 'full' then
  remember(said)
else
  remember(said, 'tick:' .. ARGV.name, ARGV.tick_ms)
end
return said
