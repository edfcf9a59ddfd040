-- claim: recovers jobs of ended leases, promotes what is due, then leases what is parked for this worker and what is
-- pending. What a crash, an unknown task or an expiry means, the worker decides.
-- KEYS.notes       hash     id -> progress
-- KEYS.cancels     hash     id -> reason of a cancel request
-- KEYS.traits      hash     id -> JSON
-- KEYS.counts      hash     id -> how its runs ended
-- KEYS.pending     zset     id by rank
-- KEYS.parking     zset     `<reason>\x1f<rank + 2^53, 17 digits>\x1f<id>`, all scores 0
-- ARGV.want        integer  jobs at most; 0 frees the caller's watch and passes a token on
-- ARGV.trust_ms    ms       the latest store time that the worker believes; when it is over, nothing is recovered
-- ARGV.rest        text     parked reasons that the worker can serve
-- uses: time drains house memory chunks wake lease watch
-- returns: now, wait ms, paused (0, 1), ids, bodies, their counts, notes and cancel reasons (a list is empty if no job
--          has any), parking (0, 1), chores (0, 1), orphans, how many of the jobs were recovered
-- keeps: a job has one lease, named by one token; added to the new place before it leaves the old
local want = tonumber(ARGV.want)
local counts, notes, cancels = {}, {}, {}

local function flag(holds)
  return holds and 1 or 0
end

local function answered(wait, parking, chores, recovered)
  return {stamp, wait, flag(paused), ids, bodies, counts, notes, cancels, flag(parking), flag(chores), orphans, recovered}
end

-- What is pending, by rank.
local function first_ready(room)
  return room > 0 and redis.call('ZRANGE', KEYS.pending, 0, room - 1, 'WITHSCORES') or {}
end

local function out_of_pending(taken)
  each(taken, function(...) redis.call('ZREM', KEYS.pending, ...) end)
end

-- Most claims find nothing due, nothing lost, and jobs that are no more than an envelope.
local due, ends = first_due(), first_end()
local rare = answer or due <= now or ends <= now or number % 64 == 0
  or redis.call('EXISTS', KEYS.traits, KEYS.counts, KEYS.notes, KEYS.cancels, KEYS.parking) > 0
local room, taken, recovered = paused and 0 or want, {}, 0
if not rare then
  local ready, found, whole = first_ready(room), nil, nil
  taken, found, whole = looked_up(ready)
  if whole then
    hand_out(ready, found)
    out_of_pending(taken)
  else
    rare = true
  end
end
if rare then
  -- here: enter traits park keys errors counts stats ended forget sift

  -- A cancel request can only be met again.
  local function tell(again)
    if #ids > 0 and redis.call('EXISTS', KEYS.counts, KEYS.notes, KEYS.cancels) > 0 then
      counts = gather(ids, function(...) return redis.call('HMGET', KEYS.counts, ...) end)
      notes = gather(ids, function(...) return redis.call('HMGET', KEYS.notes, ...) end)
      if again or recovered > 0 then
        cancels = gather(ids, function(...) return redis.call('HMGET', KEYS.cancels, ...) end)
      end
    end
  end

  -- Asked again: the jobs that this very claim still holds, and nothing else happens. The worker claims again at once.
  if answer then
    local many, recovered, place, still = 0, 0, 0, 0
    for line in string.gmatch(answer, '[^\n]+') do
      local record = place > 0 and place <= many and redis.call('HGET', KEYS.held, line)
      if place == 0 then
        many, recovered = string.match(line, '^(%d+) (%d+)$')
        many, recovered = tonumber(many), tonumber(recovered)
      elseif place > many then
        orphans[#orphans + 1] = line
      elseif record and string.sub(record, 1, #token + 1) == token .. ' ' then
        ids[#ids + 1] = line
        still = place <= recovered and #ids or still
      end
      place = place + 1
    end
    bodies = gather(ids, function(...) return redis.call('HMGET', KEYS.jobs, ...) end)
    tell(true)
    return answered(1, redis.call('EXISTS', KEYS.parking) == 1, false, still)
  end

  -- 1. Leases that ended, as far as the worker believes the clock: each is a crash of whoever held it.
  local function recover()
    local lost = now > tonumber(ARGV.trust_ms) and {}
      or redis.call('ZRANGEBYSCORE', KEYS.leases, '-inf', stamp, 'LIMIT', 0, want)
    local jobs = {}
    for i, id in ipairs(lost) do
      -- Without a record in `held` something was damaged: nobody knows who ran it, and its rank is gone.
      local record = redis.call('HGET', KEYS.held, id) or ''
      local caller, rank, since = string.match(record, '^(%S+)%.%d+ (%S+) (%d+)$')
      local counts, rest = counts_of(redis.call('HGET', KEYS.counts, id))
      counts.runs, counts.crashes = counts.runs + 1, counts.crashes + 1
      set_counts(id, counts, rest)
      add_error(id, '{"kind":"crash","attempt":' .. text(counts.runs) .. ',"caller":' .. cjson.encode(caller or '-')
        .. (since and ',"started_ms":' .. since or '') .. ',"ended_ms":' .. stamp .. '}')
      jobs[2 * i - 1] = id
      jobs[2 * i] = sound(rank) or ranks({id, priority_of(traits_of(id))})[1]
    end
    sift(jobs)
    local mine = {}
    for _, id in ipairs(ids) do
      mine[id] = true
    end
    for _, id in ipairs(lost) do
      if not mine[id] then
        redis.call('ZREM', KEYS.leases, id)
        redis.call('HDEL', KEYS.held, id)
        redis.call('HDEL', KEYS.cancels, id)
      end
    end
    return #lost
  end

  -- 2. What is due goes to pending; its place is given in the order of the due times.
  local function promote()
    local due = redis.call('ZRANGEBYSCORE', KEYS.scheduled, '-inf', stamp, 'LIMIT', 0, math.max(100, want))
    local traits = gather(due, function(...) return redis.call('HMGET', KEYS.traits, ...) end)
    local able = {}
    for i, id in ipairs(due) do
      local about = traits_in(traits[i])
      local reason = newer(about)
      if reason then
        park(id, reason, nil, priority_of(about))
      else
        able[#able + 1], able[#able + 2] = id, priority_of(about)
      end
    end
    enter(able)
    each(due, function(...) redis.call('ZREM', KEYS.scheduled, ...) end)
  end

  -- Whether a member of `parking` is a parked job's; a record that cannot be read does not deny it.
  local function stands(id, member)
    local record = id and redis.call('HGET', KEYS.parked, id)
    return record and (string.match(record, '^%d+ (.*)$') or member) == member
  end

  -- 3. What is parked for something that this worker has, before all that is pending.
  local function serve_parked(reason)
    local room, jobs = want - #ids, {}
    if room <= 0 then
      return
    end
    local listed = redis.call('ZRANGEBYLEX', KEYS.parking, '[' .. reason .. '\31', '(' .. reason .. '\32', 'LIMIT', 0, room)
    local members, stale = {}, {}
    for _, member in ipairs(listed) do
      local rank, id = string.match(member, '^[^\31]*\31(%d+)\31(.*)$')
      if stands(id, member) then
        members[#members + 1] = member
        jobs[#jobs + 1], jobs[#jobs + 2] = id, text(rank - 9007199254740992)
      else
        stale[#stale + 1] = member
      end
    end
    for i, id in ipairs(sift(jobs)) do
      redis.call('ZREM', KEYS.parking, members[i])
      if stands(id, members[i]) then -- it may be parked again, for something else
        redis.call('HDEL', KEYS.parked, id)
      end
    end
    each(stale, function(...) redis.call('ZREM', KEYS.parking, ...) end)
  end

  local lost = 0
  if not paused then
    lost = want > 0 and recover() or 0
    recovered = #ids
    promote()
    due = first_due()
    for i = $REST, #ARGV do
      serve_parked(ARGV[i])
    end
    room = want - #ids
    taken = sift(first_ready(room)) -- 4.
    out_of_pending(taken)
  end
  if number % 64 == 0 then
    forget_over(10)
    drop_periods(10)
  end
  ended(orphans)
  count({recovered = lost > 0 and lost or nil, dead = #orphans > 0 and #orphans or nil})
  tell(false)
end

local parking = rare and redis.call('EXISTS', KEYS.parking) == 1
if paused then
  due, ends = math.huge, math.huge
else
  if #taken == room and redis.call('EXISTS', KEYS.pending) == 1 then
    wake() -- pass_on
  end
  -- What this call leased ends after its lease time.
  ends = ends > now and math.min(ends, #ids > 0 and now + tonumber(ARGV.lease_ms) or math.huge) or next_end()
end
local wait, new_watch = watch_or_sleep(#ids == want, due, ends)

-- What is remembered: how many jobs, how many of them were recovered, their ids, then the orphans'.
local said = #ids .. ' ' .. recovered .. '\n' .. table.concat(ids, '\n') .. '\n' .. table.concat(orphans, '\n')
if new_watch then
  remember(said, 'watch', new_watch)
else
  remember(said)
end
return answered(math.max(1, wait), parking, pruned < now - 60000, recovered)
