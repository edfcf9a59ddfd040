-- store: new jobs into the queue, each for itself: the heart of put and tick, and the effects of a settle.
-- KEYS.jobs          hash  id -> `<enqueued>\n<envelope>`
-- KEYS.traits        hash  id -> JSON
-- KEYS.unique        hash  `<task> <key>` -> id of the holder
-- KEYS.unique_until  zset  `<task> <key>` by the end of its period, ms
-- KEYS.scheduled     zset  id by due time, ms
-- KEYS.pending       zset  id by rank
-- KEYS.parked        hash  id -> `<parked> <member>`
-- uses: time house chunks enter wake stats ended

-- The rules of keys and traits: made when the first job has any.
local rules
local function rule(name)
  if not rules then
    -- here: traits keys cancelled
    rules = {
      are_traits = are_traits, owner_of = owner_of, place_of = place_of, end_waiting = end_waiting,
      drop_periods = drop_periods,
    }
  end
  return rules[name]
end

local function room_for(limit)
  if limit < 0 then
    return math.huge
  end
  return limit - redis.call('ZCARD', KEYS.pending) - redis.call('ZCARD', KEYS.scheduled)
    - redis.call('HLEN', KEYS.parked)
end

-- nil: it is due.
local function due_of(word)
  if word == '' then
    return nil
  end
  local after = string.match(word, '^%+(%d+)$')
  local due = after and now + after or tonumber(word)
  return due and due > now and due or nil
end

-- What a job is told if there is room, and the holder of its key, if that lives.
local function asked(key, duplicate, taken)
  if key == '' then
    return 'created'
  elseif taken[key] then
    return 'taken:' .. taken[key]
  end
  local owner = rule('owner_of')(key)
  local place = owner and duplicate == 'replace' and rule('place_of')(owner)
  if not owner or place == 'leases' then
    return 'created', owner
  end
  return (place and 'replaced:' or 'taken:') .. owner, owner
end

-- What is wrong with the eight words of a job, nil if nothing: no claim should meet what cannot be read.
local function fault_in(at)
  local due, priority, lasts, json = ARGV[at + 2], ARGV[at + 3], ARGV[at + 5], ARGV[at + 7]
  if priority ~= '5' and not string.find(priority, '^%d$') then
    return 'priority'
  elseif due ~= '' and not string.find(due, '^[+-]?%d+$') then
    return 'due'
  elseif ARGV[at + 4] ~= '' and lasts ~= 'done' and lasts ~= 'start' and not string.find(lasts, '^%d+$') then
    return 'until'
  end
  if json ~= '' then
    local read, traits = pcall(cjson.decode, json)
    if not read or not rule('are_traits')(traits) then
      return 'traits'
    end
  end
end

local function add(list, one, other)
  local many = #list
  list[many + 1], list[many + 2] = one, other
end

-- What the accepted jobs of one call write, hash by hash. Eight words a job from ARGV[at] on:
-- id, envelope, due, priority, key, until, duplicate, traits.
local function accept(batch, at)
  local id, key, lasts = ARGV[at], ARGV[at + 4], ARGV[at + 5]
  add(batch.bodies, id, stamp .. '\n' .. ARGV[at + 1])
  if ARGV[at + 7] ~= '' then
    add(batch.traits, id, ARGV[at + 7])
  end
  if key ~= '' then
    batch.taken[key] = id
    add(batch.holders, key, id)
    if tonumber(lasts) then
      add(batch.periods, text(now + lasts), key)
    else
      add(batch.open_ended, key)
    end
  end
  local due = due_of(ARGV[at + 2])
  if due then
    add(batch.scheduled, text(due), id)
  else
    add(batch.ready, id, ARGV[at + 3])
  end
end

local function place(batch, keep_ms)
  each(batch.traits, function(...) redis.call('HSET', KEYS.traits, ...) end)
  each(batch.holders, function(...) redis.call('HSET', KEYS.unique, ...) end)
  each(batch.periods, function(...) redis.call('ZADD', KEYS.unique_until, ...) end)
  each(batch.open_ended, function(...) redis.call('ZREM', KEYS.unique_until, ...) end)
  local earlier = false
  if #batch.scheduled > 0 then
    local due = first_due()
    each(batch.scheduled, function(...) redis.call('ZADD', KEYS.scheduled, ...) end)
    earlier = first_due() < due
  end
  enter(batch.ready)
  for _, id in ipairs(batch.replaced) do
    rule('end_waiting')(id, keep_ms, 'replaced')
  end
  if #batch.periods > 0 then
    rule('drop_periods')(#batch.periods + 10)
  end
  if #batch.ready > 0 or earlier then
    wake() -- put_push, timer_push
  end
  ended(batch.replaced)
  count({enqueued = #batch.bodies / 2, cancelled = #batch.replaced > 0 and #batch.replaced or nil})
end

-- The first write grows: a full server refuses the whole call here, before anything changed. A key of the wrong type is
-- met later: then the jobs go again, so that nobody believes them stored.
local function write(batch, keep_ms)
  local refused = redis.pcall('HSET', KEYS.jobs, unpack(batch.bodies))
  if type(refused) == 'table' and refused.err then
    return refused
  end
  local placed, met = pcall(place, batch, keep_ms)
  if placed then
    return nil
  end
  for i = 1, #batch.bodies, 2 do
    local id = batch.bodies[i]
    redis.pcall('ZREM', KEYS.pending, id)
    redis.pcall('ZREM', KEYS.scheduled, id)
    redis.pcall('HDEL', KEYS.traits, id)
    redis.call('HDEL', KEYS.jobs, id)
  end
  return type(met) == 'table' and met or redis.error_reply(met)
end

-- The verdicts of `many` jobs from ARGV[first] on, or nil and an error. `limit`: the most that may wait, -1 for any.
local function store(first, many, limit, keep_ms)
  local ids = {}
  for i = 1, many do
    ids[i] = ARGV[first + 8 * i - 8]
  end
  for at = first, first + 8 * many - 8, 8 do
    local fault = fault_in(at)
    if fault then
      return nil, redis.error_reply('MALFORMED ' .. fault .. ' of job ' .. ARGV[at])
    end
  end
  local have = gather(ids, function(...) return redis.call('HMGET', KEYS.jobs, ...) end)
  local seen, room = {}, room_for(limit)
  local verdicts, batch = {}, {taken = {}, bodies = {}, traits = {}, holders = {}, periods = {}, open_ended = {},
    scheduled = {}, ready = {}, replaced = {}}
  for i = 1, many do
    local id, at = ids[i], first + 8 * i - 8
    local verdict, owner = 'exists', nil
    if not have[i] and not seen[id] then
      verdict, owner = asked(ARGV[at + 4], ARGV[at + 6], batch.taken)
    end
    if verdict == 'created' then
      if room <= 0 and not owner then
        verdict = 'full'
      end
      room = room - 1
    end
    local other = owner and string.match(verdict, '^replaced:(.*)$')
    batch.replaced[#batch.replaced + 1] = other
    if other or verdict == 'created' then
      seen[id] = true
      accept(batch, at)
    end
    verdicts[i] = verdict
  end
  local refused = #batch.bodies > 0 and write(batch, keep_ms)
  if refused then
    return nil, refused
  end
  return verdicts
end
