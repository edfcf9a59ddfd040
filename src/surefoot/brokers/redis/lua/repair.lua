-- repair: puts right what an eviction or a careless hand broke. Each job and each key is looked at again here.
-- KEYS.dead     zset     id by time of death, ms
-- KEYS.held     hash     id -> `<token> <rank> <since>` of the running lease
-- KEYS.cancels  hash     id -> reason of a cancel request
-- ARGV.caller   text     who calls
-- ARGV.many     integer  how many ids follow
-- ARGV.rest     text     the ids, then keys, each `<task> <key>`
-- uses: time drains house traits counts cancelled enter stats wake ended bury
-- returns: a word for each id (buried, filled, returned, dead, kept, sound), then for each key (freed, sound)
-- keeps: nothing is lost; a running job is not touched
found()
local many, words, over, back = tonumber(ARGV.many), {}, {}, {}

local function place_anywhere(id)
  return place_of(id)
    or redis.call('ZSCORE', KEYS.dead, id) and 'dead'
    or redis.call('ZSCORE', KEYS.kept, id) and 'kept'
end

local function leave_lease(id)
  redis.call('ZREM', KEYS.leases, id)
  redis.call('HDEL', KEYS.held, id)
  redis.call('HDEL', KEYS.cancels, id)
end

-- An empty body stands for the lost one. Whoever runs the job has it whole until its lease ends.
local function without_body(id, place)
  if place == 'leases' and tonumber(redis.call('ZSCORE', KEYS.leases, id)) > now then
    return 'sound'
  end
  redis.call('HSET', KEYS.jobs, id, stamp .. '\n')
  if place == 'dead' or place == 'kept' then
    return 'filled'
  end
  bury(id, 'body_lost', '', traits_of(id))
  leave(id)
  leave_lease(id)
  over[#over + 1] = id
  return 'buried'
end

-- When a job died, as its newest error line says; nil if it was requeued since, or never died.
local function died(id)
  local line = string.match(redis.call('HGET', KEYS.errors, id) or '', '^[^\n]*')
  local _, rest = counts_of(redis.call('HGET', KEYS.counts, id))
  local ended, due = tonumber(string.match(line, '"ended_ms":(%d+)')), tonumber(string.match(rest, '^ (%d+)'))
  local requeued = due and (not ended or due >= ended)
  return string.find(line, '"reason":"[%a_]+"') and not requeued and text(ended or now) or nil
end

-- What was over stays over: it must not run again. Everything else is pending.
local function without_place(id)
  local death = died(id)
  if string.find(redis.call('HGET', KEYS.results, id) or '', '^%a+ %d+ ') then
    redis.call('ZADD', KEYS.kept, text(now + 300000), id)
    return 'kept'
  elseif death then
    redis.call('ZADD', KEYS.dead, death, id)
    return 'dead'
  end
  leave_lease(id)
  back[#back + 1], back[#back + 2] = id, priority_of(traits_of(id))
  return 'returned'
end

local function mend(id)
  local place, body = place_anywhere(id), redis.call('HEXISTS', KEYS.jobs, id) == 1
  if place and not body then
    return without_body(id, place)
  elseif body and not place then
    return without_place(id)
  end
  return 'sound'
end

local function free(key)
  local id = redis.call('HGET', KEYS.unique, key)
  local place = id and redis.call('HEXISTS', KEYS.jobs, id) == 1 and place_anywhere(id)
  if not id or redis.call('ZSCORE', KEYS.unique_until, key) or place and place ~= 'dead' and place ~= 'kept' then
    return 'sound'
  end
  redis.call('HDEL', KEYS.unique, key)
  return 'freed'
end

local seen = {}
for i = $REST, #ARGV do
  local word = ARGV[i]
  if i >= $REST + many then
    words[#words + 1] = free(word)
  elseif seen[word] then
    words[#words + 1] = 'sound'
  else
    seen[word] = true
    words[#words + 1] = mend(word)
  end
  if i == $REST + many - 1 and #back > 0 then
    enter(back)
    wake() -- put_push
  end
end
ended(over)
count({dead = #over > 0 and #over or nil})
return table.concat(words, '\n')
