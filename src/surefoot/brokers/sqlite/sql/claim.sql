-- claim: recover ended leases, promote what is due, then lease what is parked for this worker and what is pending.
-- :queue   text     namespace:queue
-- :now     integer  ms, the store's time
-- :until   integer  ms, leases that ended by then are recovered
-- :token   text     of this claim
-- :end     integer  ms, when the new leases end
-- :caller  text     who claims
-- :most    integer  rows at most
-- :reason  text     a parked reason that the worker can serve
-- :seq     integer  the row of a job
-- :rank    integer  its place in pending
-- :errors  blob     all its error lines, newest first
-- :ids     text     JSON array of ids
-- returns: rows as each statement says; an UPDATE with RETURNING has no order
-- keeps: a job has one lease, named by one token

-- name: ended
SELECT seq, rank, priority, needs, since, caller, runs, errors FROM job INDEXED BY job_at
WHERE queue = :queue AND state = 'processing' AND at <= :until ORDER BY at, seq LIMIT :most;

-- name: recover
UPDATE job SET rank = :rank, token = :token, at = :end, since = :now, caller = :caller, errors = :errors,
    runs = runs + 1, crashes = crashes + 1
WHERE seq = :seq;

-- name: count_crash
UPDATE job SET errors = :errors, runs = runs + 1, crashes = crashes + 1 WHERE seq = :seq;

-- name: due
SELECT seq, priority, needs FROM job INDEXED BY job_at
WHERE queue = :queue AND state = 'scheduled' AND at <= :now ORDER BY at, seq LIMIT :most;

-- name: any_parked
SELECT 1 FROM job INDEXED BY job_parked WHERE queue = :queue AND state = 'parked' LIMIT 1;

-- name: parked
SELECT seq FROM job INDEXED BY job_parked
WHERE queue = :queue AND state = 'parked' AND reason = :reason ORDER BY rank LIMIT :most;

-- name: take_parked
UPDATE job SET state = 'processing', token = :token, at = :end, since = :now, caller = :caller, reason = NULL
WHERE seq = :seq;

-- name: take_pending
UPDATE job SET state = 'processing', token = :token, at = :end, since = :now, caller = :caller
WHERE seq IN (SELECT seq FROM job INDEXED BY job_pending
    WHERE queue = :queue AND state = 'pending' ORDER BY rank LIMIT :most)
RETURNING rank, id, enqueued, (SELECT envelope FROM body WHERE body.seq = job.seq), needs, traits, runs, due_set, note, seq;

-- name: leased
SELECT j.rank, j.id, j.enqueued, b.envelope, j.needs, j.traits, j.runs, j.due_set, j.note, j.seq
FROM job j LEFT JOIN body b ON b.seq = j.seq WHERE j.seq = :seq;

-- name: untake
-- It was taken with the others and is not handed out.
UPDATE job SET since = 0, caller = NULL WHERE seq = :seq;

-- name: details
SELECT failures, crashes, interruptions, snoozes, cancel, errors, priority FROM job WHERE seq = :seq;

-- name: still_held
SELECT j.rank, j.id, j.enqueued, b.envelope, j.needs, j.traits, j.runs, j.due_set, j.note, j.seq
FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value LEFT JOIN body b ON b.seq = j.seq
WHERE j.state = 'processing' AND j.token = :token ORDER BY e.key;

-- name: around
-- Whether something is parked, whether something is pending, the first due time, the first end of a lease to come.
SELECT EXISTS (SELECT 1 FROM job INDEXED BY job_parked WHERE queue = :queue AND state = 'parked'),
    EXISTS (SELECT 1 FROM job INDEXED BY job_pending WHERE queue = :queue AND state = 'pending'),
    (SELECT min(at) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'scheduled' AND at IS NOT NULL),
    (SELECT min(at) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'processing' AND at > :now);
