-- counts: how the runs of a job ended. What a newer release wrote behind the words that we know stays there; a record
-- that somebody else spoiled counts as none.
-- KEYS.counts  hash  id -> `runs failures crashes interruptions snoozes[ due set]`
local function counts_of(record)
  record = record or '0 0 0 0 0'
  local runs, failures, crashes, interruptions, snoozes, rest =
    string.match(record, '^(%d+) (%d+) (%d+) (%d+) (%d+)(.*)$')
  if not runs or #(runs .. failures .. crashes .. interruptions .. snoozes) > 50 then
    return {runs = 0, failures = 0, crashes = 0, interruptions = 0, snoozes = 0}, ''
  end
  return {runs = runs, failures = failures, crashes = crashes, interruptions = interruptions, snoozes = snoozes}, rest
end

local function set_counts(id, counts, rest)
  redis.call('HSET', KEYS.counts, id, string.format('%.0f %.0f %.0f %.0f %.0f', counts.runs, counts.failures,
    counts.crashes, counts.interruptions, counts.snoozes) .. rest)
end

-- Every bump is a run; one that snoozed starts again without crashes.
local function bump(id, counter)
  local counts, rest = counts_of(redis.call('HGET', KEYS.counts, id))
  if counter ~= 'runs' then
    counts[counter] = counts[counter] + 1
  end
  if counter == 'snoozes' then
    counts.crashes = 0
  end
  counts.runs = counts.runs + 1
  set_counts(id, counts, rest)
end

-- The due time that a requeue or a move set, instead of the envelope's.
local function set_due(id, counts, rest, due)
  local newer = string.match(rest, '^ %d+(.*)$') or rest
  set_counts(id, counts, ' ' .. due .. newer)
end
