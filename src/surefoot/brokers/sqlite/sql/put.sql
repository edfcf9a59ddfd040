-- put: store new jobs, each by itself, and move keys to their new holders.
-- :queue     text     namespace:queue
-- :seq       integer  the row of a job
-- :id        text     its id
-- :state     text     pending or scheduled
-- :priority  integer  0 (first) to 9
-- :rank      integer  its place in pending, or NULL
-- :at        integer  ms, the moment it waits for, or NULL
-- :unique_key text    the key it holds until it is done or started, or NULL
-- :needs     integer  the oldest understanding that may serve it
-- :enqueued  integer  ms, the store's time
-- :traits    text     flat JSON of what is not plain, or NULL
-- :envelope  blob     the job as JSON
-- :ids       text     JSON array of ids
-- :keys      text     JSON array of `<task> <key>`
-- :key       text     `<task> <key>`
-- :until     integer  ms, the moment up to which a key is held
-- :now       integer  ms, the store's time
-- :forget    integer  ms, when an outcome is forgotten
-- :most      integer  the number above which counting is of no use
-- returns: rows as each statement says
-- keeps: an id is stored once; a key has one holder

-- name: next_seq
SELECT coalesce(max(seq), 0) + 1 FROM job;

-- name: known
SELECT j.id FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value;

-- name: waiting
SELECT (SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY job_pending
        WHERE queue = :queue AND state = 'pending' LIMIT :most))
    + (SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY job_at
        WHERE queue = :queue AND state = 'scheduled' AND at IS NOT NULL LIMIT :most))
    + (SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY job_at
        WHERE queue = :queue AND state = 'parked' AND at IS NOT NULL LIMIT :most));

-- name: insert_job
INSERT INTO job(seq, queue, id, state, at, priority, rank, unique_key, needs, enqueued, traits)
VALUES (:seq, :queue, :id, :state, :at, :priority, :rank, :unique_key, :needs, :enqueued, :traits);

-- name: insert_plain
-- Jobs that are due, of one priority and without anything more to say, all at once from the first row and rank on.
INSERT INTO job(seq, queue, id, state, priority, rank, needs, enqueued)
SELECT :seq + e.key, :queue, e.value, 'pending', :priority, :rank + 64 * e.key, 1, :enqueued FROM json_each(:ids) e;

-- name: insert_body
-- A body whose job is gone (damage) makes room.
INSERT OR REPLACE INTO body(seq, envelope) VALUES (:seq, :envelope);

-- name: holders
SELECT j.unique_key, j.id, j.seq, j.state
FROM json_each(:keys) e CROSS JOIN job j ON j.queue = :queue AND j.unique_key = e.value;

-- name: periods
SELECT p.key, p.id, j.seq, j.state
FROM json_each(:keys) e CROSS JOIN period p ON p.queue = :queue AND p.key = e.value AND p.until > :now
LEFT JOIN job j ON j.queue = p.queue AND j.id = p.id;

-- name: hold_period
INSERT INTO period(queue, key, id, until) VALUES (:queue, :key, :id, :until)
ON CONFLICT (queue, key) DO UPDATE SET id = excluded.id, until = excluded.until;

-- name: end_period
DELETE FROM period WHERE queue = :queue AND key = :key;

-- name: hand_over
UPDATE job SET unique_key = NULL WHERE queue = :queue AND unique_key = :key;

-- name: replace
UPDATE job SET state = 'cancelled', at = :forget, reason = 'replaced', rank = NULL, note = NULL, since = 0,
    caller = NULL, unique_key = NULL, ended = :now
WHERE seq = :seq;
