-- settle: applies transitions of leased jobs, each fenced by its token.
-- KEYS.cancels  hash     id -> reason of a cancel request
-- KEYS.held     hash     id -> `<token> <rank> <since>` of the running lease
-- ARGV.many     integer  how many transitions follow
-- ARGV.rest     text     9 a transition: id, token, to (completed, cancelled, expired, dead, scheduled, retry, pending,
--                        parked), when (why it is dead, ms until it is due, why it is parked), keep_ms (-1: for ever),
--                        bump or "", error line or "", result or reason, m; then m effects, 8 words each as put has them
-- uses: time drains house memory store traits errors bury keep
-- returns: a verdict a line: applied, fenced, cancelled
-- keeps: only the holder of the token changes the job; added to the new place before it leaves its lease
if answer then
  return answer
end
local WAITS = {scheduled = true, retry = true, pending = true, parked = true}
local many, ids, starts, at = tonumber(ARGV.many), {}, {}, $REST
for i = 1, many do
  ids[i], starts[i] = ARGV[at], at
  at = at + 9 + 8 * ARGV[at + 8]
end
local held = {}
for i, record in ipairs(gather(ids, function(...) return redis.call('HMGET', KEYS.held, ...) end)) do
  held[ids[i]] = record
end
-- One look finds most batches plain.
local rare = redis.call('EXISTS', KEYS.traits, KEYS.counts, KEYS.errors, KEYS.notes, KEYS.cancels) > 0
local due = first_due()
local events, over, gone, kept, wakes = {}, {}, {}, 0, false
local forgotten = {}

local function tell(event)
  events[event] = (events[event] or 0) + 1
end

local function finish(id, state, keep_ms, record, counter, said, about)
  over[#over + 1] = id
  tell(state)
  release(id, about)
  if keep_ms == 0 then
    forgotten[#forgotten + 1] = id
    return
  end
  kept = kept + 1
  local runs = rare and counts_of(redis.call('HGET', KEYS.counts, id)).runs or 0
  if counter == '' then
    keep(id, state, keep_ms, '0', text(runs), '-', said)
  else
    local caller, since = string.match(record, '^(%S+)%.%d+ %S+ (%d+)$')
    keep(id, state, keep_ms, since or '0', text(runs + 1), caller or '-', said)
  end
end

local function wait(id, to, when, rank, about)
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
      redis.call('ZADD', KEYS.scheduled, text(now + when), id)
    else
      enter({id, priority_of(about)})
      wakes = true
    end
  end
end

local function apply(id, at, record)
  local to, when, keep_ms = ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  local counter, line, said = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  local about = rare and traits_of(id) or PLAIN
  local cancel = rare and WAITS[to] and redis.call('HGET', KEYS.cancels, id)
  local verdict = 'applied'
  if cancel then
    verdict, to, said = 'cancelled', 'cancelled', cancel
  end
  if counter == 'failures' or counter == 'crashes' then
    tell('failed')
  end
  local ends = to == 'completed' or to == 'cancelled' or to == 'expired'
  if counter ~= '' and not ends then
    bump(id, counter)
  end
  if to == 'dead' then
    over[#over + 1] = id
    tell('dead')
    bury(id, when, line, about)
  else
    if line ~= '' and not (ends and keep_ms == 0) then
      add_error(id, line)
    end
    if ends then
      finish(id, to, keep_ms, record, counter, said, about)
    else
      wait(id, to, when, sound(string.match(record, '^%S+ (%S+)')), about)
    end
  end
  return verdict
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

local verdicts, token, holder = {}, nil, nil
for i, id in ipairs(ids) do
  local record, effects = held[id], tonumber(ARGV[starts[i] + 8])
  if ARGV[starts[i] + 1] ~= token then -- most jobs of a batch come from one claim
    token = ARGV[starts[i] + 1]
    holder = token .. ' '
  end
  if not record or string.sub(record, 1, #holder) ~= holder then
    verdicts[i] = 'fenced'
  else
    held[id] = nil -- a second transition of this job comes too late
    gone[#gone + 1] = id
    verdicts[i] = apply(id, starts[i], record)
    if effects > 0 and verdicts[i] == 'applied' then
      leave_leases()
      local _, refused = store(starts[i] + 9, effects, -1, 300000)
      if refused then
        return refused
      end
      rare = true
    end
  end
end
leave_leases()
if kept > 0 then
  forget_over(2 * kept + 10)
end
if wakes or first_due() < due then
  wake() -- put_push, timer_push
end
ended(over)
count(events)
local said = table.concat(verdicts, '\n')
remember(said)
return said
