-- settle: applies transitions of leased jobs, each fenced by its token.
-- KEYS.cancels  hash     id -> reason of a cancel request
-- KEYS.held     hash     id -> `<token> <rank> <since>` of the running lease
-- KEYS.leases   zset     id by the end of its lease, ms
-- KEYS.pending  zset     id by rank
-- KEYS.scheduled  zset   id by due time, ms
-- KEYS.counts   hash     id -> how its runs ended
-- ARGV.times    bytes    how long their runs waited and lasted, as stats counts them; may be empty
-- ARGV.rest     text     groups of jobs that take the same step, 8 words first: token, to (completed, cancelled, expired,
--                        dead, scheduled, retry, pending, parked), when (why it is dead, ms until it is due, why it is
--                        parked), keep_ms (-1: for ever), bump or "", error line or "", n, m; then n jobs, 2 words each:
--                        id, result or reason; then m effects (of one job), 8 words each as put has them
-- uses: time drains house memory chunks keep forget ended stats
-- returns: a verdict a line: applied, fenced, cancelled
-- keeps: only the holder of the token changes the job; added to the new place before it leaves its lease
if answer then
  return answer
end
local ids, groups, at = {}, {}, $REST
-- Most batches are completed jobs that are no more than an envelope. One look finds them.
local rare = redis.call('EXISTS', KEYS.traits, KEYS.counts, KEYS.errors, KEYS.notes, KEYS.cancels) > 0
local plain = not rare
while ARGV[at] do
  local many, effects = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local step = {
    holder = ARGV[at] .. ' ', to = ARGV[at + 1], when = ARGV[at + 2], keep_ms = tonumber(ARGV[at + 3]),
    counter = ARGV[at + 4], line = ARGV[at + 5], many = many, effects = effects, at = at + 8,
  }
  groups[#groups + 1] = step
  plain = plain and step.to == 'completed' and step.line == '' and effects == 0
  for i = 1, many do
    ids[#ids + 1] = ARGV[at + 6 + 2 * i]
  end
  at = at + 8 + 2 * many + 8 * effects
end
local held = gather(ids, function(...) return redis.call('HMGET', KEYS.held, ...) end)
local verdicts, events, over, forgotten, gone, seen, kept = {}, {}, {}, {}, {}, {}, 0

local function tell(event)
  events[event] = (events[event] or 0) + 1
end

-- `runs`: those before this one.
local function finish(id, state, step, record, said, runs)
  over[#over + 1] = id
  tell(state)
  if step.keep_ms == 0 then
    forgotten[#forgotten + 1] = id
    return
  end
  kept = kept + 1
  if step.counter == '' then
    keep(id, state, step.keep_ms, '0', text(runs), '-', said)
  else
    local since = string.match(record, '^%S+ (%d+)$', #step.holder + 1)
    keep(id, state, step.keep_ms, since or '0', text(runs + 1), string.match(step.holder, '^(%S*)%.%d+ $') or '-', said)
  end
end

-- Out of the lease, and out of the store: what comes in after this must not meet it.
local function leave_leases()
  write_kept()
  forget(forgotten)
  each(gone, function(...)
    redis.call('ZREM', KEYS.leases, ...)
    redis.call('HDEL', KEYS.held, ...)
    if rare then
      redis.call('HDEL', KEYS.cancels, ...)
    end
  end)
  forgotten, gone = {}, {}
end

-- Whether the job at this place is still in its holder's hands. A second step of the same job comes too late.
local function holds(step, place)
  local record, holder = held[place], step.holder
  return record and not seen[ids[place]] and string.sub(record, 1, #holder) == holder
end

local function complete(id, step, record, said)
  finish(id, 'completed', step, record, said, 0)
  return 'applied'
end

local apply, effect, close = complete, nil, nil
if not plain then
  -- here: enter wake traits counts errors park keys bury store
  local ENDS = {completed = true, cancelled = true, expired = true}
  local wakes, due = false, nil

  local function wait(id, step, rank, about)
    local to, when = step.to, step.when
    if to == 'parked' then
      park(id, when, rank, priority_of(about))
      wakes = true -- somebody else may know the task
    elseif to == 'pending' and rank then
      redis.call('ZADD', KEYS.pending, rank, id) -- handed back, to its old place
      wakes = true
    else
      if to == 'retry' then
        tell('retried')
      end
      if to ~= 'pending' and tonumber(when) > 0 then
        due = due or first_due()
        redis.call('ZADD', KEYS.scheduled, text(now + when), id)
      else
        enter({id, priority_of(about)})
        wakes = true
      end
    end
  end

  function apply(id, step, record, said)
    local to, counter = step.to, step.counter
    local ends = ENDS[to]
    local about = rare and traits_of(id) or PLAIN
    local cancel = rare and not ends and to ~= 'dead' and redis.call('HGET', KEYS.cancels, id)
    if cancel then
      to, said, ends = 'cancelled', cancel, true
    end
    if counter == 'failures' or counter == 'crashes' then
      tell('failed')
    end
    if counter ~= '' and not ends then
      bump(id, counter)
    end
    if to == 'dead' then
      over[#over + 1] = id
      tell('dead')
      bury(id, step.when, step.line, about)
    else
      if step.line ~= '' and not (ends and step.keep_ms == 0) then
        add_error(id, step.line)
      end
      if ends then
        release(id, about)
        finish(id, to, step, record, said, rare and counts_of(redis.call('HGET', KEYS.counts, id)).runs or 0)
      else
        wait(id, step, sound(string.match(record, '^%S+ (%S+)')), about)
      end
    end
    return cancel and 'cancelled' or 'applied'
  end

  -- The new jobs of a step come in once its own job is out.
  function effect(step)
    leave_leases()
    local _, refused = store(step.at + 2 * step.many, step.effects, -1, 300000)
    rare = true
    return refused
  end

  function close()
    if wakes or (due and first_due() < due) then
      wake() -- put_push, timer_push
    end
  end
end

local place = 0
for _, step in ipairs(groups) do
  for i = 1, step.many do
    place = place + 1
    verdicts[place] = 'fenced'
    if holds(step, place) then
      local id = ids[place]
      seen[id] = true
      gone[#gone + 1] = id
      verdicts[place] = apply(id, step, held[place], ARGV[step.at + 2 * i - 1])
    end
  end
  local refused = step.effects > 0 and verdicts[place] == 'applied' and effect(step)
  if refused then
    return refused
  end
end
leave_leases()
if kept > 0 then
  forget_over(2 * kept + 10)
end
if close then
  close()
end
ended(over)
count(events, ARGV.times)
local said = table.concat(verdicts, '\n')
remember(said)
return said
