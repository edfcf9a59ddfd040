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
-- :seqs    text     JSON array of rows
-- :rank    integer  its place in pending
-- :errors  blob     all its error lines, newest first
-- :ids     text     JSON array of ids
-- returns: rows as each statement says; `job`, `parked`, `pending` and `still_held` alike
-- keeps: a job has one lease, named by one token

-- name: ended
SELECT seq, rank, priority, since, caller, runs, errors FROM job INDEXED BY job_at
WHERE queue = :queue AND state = 'processing' AND at <= :until ORDER BY at, seq LIMIT :most;

-- name: crash
UPDATE job SET rank = :rank, errors = :errors, runs = runs + 1, crashes = crashes + 1 WHERE seq = :seq;

-- name: due
SELECT seq, priority, needs FROM job INDEXED BY job_at
WHERE queue = :queue AND state = 'scheduled' AND at <= :now ORDER BY at, seq LIMIT :most;

-- name: any_parked
SELECT 1 FROM job INDEXED BY job_parked WHERE queue = :queue AND state = 'parked' LIMIT 1;

-- name: job
SELECT j.rank, j.id, j.enqueued, b.envelope, j.needs, j.traits, j.runs, j.due_set, j.note, j.seq
FROM job j LEFT JOIN body b ON b.seq = j.seq WHERE j.seq = :seq;

-- name: parked
SELECT j.rank, j.id, j.enqueued, b.envelope, j.needs, j.traits, j.runs, j.due_set, j.note, j.seq
FROM job j INDEXED BY job_parked LEFT JOIN body b ON b.seq = j.seq
WHERE j.queue = :queue AND j.state = 'parked' AND j.reason = :reason ORDER BY j.rank LIMIT :most;

-- name: pending
SELECT j.rank, j.id, j.enqueued, b.envelope, j.needs, j.traits, j.runs, j.due_set, j.note, j.seq
FROM job j INDEXED BY job_pending LEFT JOIN body b ON b.seq = j.seq
WHERE j.queue = :queue AND j.state = 'pending' ORDER BY j.rank LIMIT :most;

-- name: still_held
SELECT j.rank, j.id, j.enqueued, b.envelope, j.needs, j.traits, j.runs, j.due_set, j.note, j.seq
FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value LEFT JOIN body b ON b.seq = j.seq
WHERE j.state = 'processing' AND j.token = :token ORDER BY e.key;

-- name: lease
-- Read first, then write: an UPDATE with RETURNING keeps its rows in a table of its own, and costs a quarter more.
UPDATE job SET state = 'processing', at = :end, token = :token, since = :now, caller = :caller, reason = NULL
WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: details
SELECT failures, crashes, interruptions, snoozes, cancel, errors, priority FROM job WHERE seq = :seq;

-- name: around
-- Whether something is parked, whether something is pending, the first due time, the first end of a lease to come.
SELECT EXISTS (SELECT 1 FROM job INDEXED BY job_parked WHERE queue = :queue AND state = 'parked'),
    EXISTS (SELECT 1 FROM job INDEXED BY job_pending WHERE queue = :queue AND state = 'pending'),
    (SELECT min(at) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'scheduled' AND at IS NOT NULL),
    (SELECT min(at) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'processing' AND at > :now);
