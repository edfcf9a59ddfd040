-- get: all that the store knows of some jobs.
-- :queue  text     namespace:queue
-- :ids    text     JSON array of ids
-- :rank   integer  a place in pending
-- :most   integer  rows at most
-- returns: one row a job, in the order of read.py
-- keeps: nothing is written

-- name: records
SELECT j.id, j.state, j.enqueued, b.envelope, j.priority, j.runs, j.failures, j.crashes, j.interruptions, j.snoozes,
    j.due_set, j.at, j.since, j.ended, j.caller, j.reason, j.cancel, j.note, j.errors, b.result, j.traits, j.rank
FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value LEFT JOIN body b ON b.seq = j.seq;

-- name: behind
SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY job_pending
    WHERE queue = :queue AND state = 'pending' AND rank < :rank LIMIT :most);
