-- shared: what several verbs do alike: the queue's words, the call memory, places, counters.
-- :queue   text     namespace:queue
-- :name    text     a word of meta
-- :value   any      its value
-- :steps   integer  how far a counter moves
-- :verb    text     the verb of a remembered answer
-- :id      text     a caller
-- :call    integer  the number of its call
-- :tag     text     the tag of its call
-- :answer  blob     JSON
-- :now     integer  ms, the store's time
-- :before  integer  ms, callers unused since then go
-- :most    integer  rows at most
-- :ids     text     JSON array of job ids
-- :seq     integer  a job
-- :seqs    text     JSON array of jobs' rows
-- :rank    integer  its place in pending
-- :reason  text     why it is parked, or dead
-- :errors  blob     all its error lines, newest first
-- :envelope blob    the job as JSON, or nothing in place of a lost one
-- returns: rows as each statement says
-- keeps: a counter only grows; a call number of a caller only grows

-- name: house
SELECT name, value FROM meta
WHERE queue = :queue AND name IN ('layout', 'epoch', 'paused', 'max_length', 'pruned', 'wake');

-- name: word
SELECT value FROM meta WHERE queue = :queue AND name = :name;

-- name: set_word
INSERT INTO meta(queue, name, value) VALUES (:queue, :name, :value)
ON CONFLICT (queue, name) DO UPDATE SET value = excluded.value;

-- name: drop_word
DELETE FROM meta WHERE queue = :queue AND name = :name;

-- name: advance
INSERT INTO meta(queue, name, value) VALUES (:queue, :name, :steps)
ON CONFLICT (queue, name) DO UPDATE SET value = value + excluded.value
RETURNING value;

-- name: recall
SELECT call, tag, answer FROM caller WHERE queue = :queue AND verb = :verb AND id = :id;

-- name: remember
INSERT INTO caller(queue, verb, id, call, tag, answer, used) VALUES (:queue, :verb, :id, :call, :tag, :answer, :now)
ON CONFLICT (queue, verb, id) DO UPDATE SET
    call = excluded.call, tag = excluded.tag, answer = excluded.answer, used = excluded.used;

-- name: forget_callers
DELETE FROM caller WHERE queue = :queue AND verb = :verb AND used < :before AND id IN (
    SELECT id FROM caller WHERE queue = :queue AND verb = :verb AND id >= :id ORDER BY id LIMIT :most);

-- name: first_due
SELECT min(at) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'scheduled' AND at IS NOT NULL;

-- name: places
SELECT j.id, j.seq, j.state, j.priority, j.traits
FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value;

-- name: enter
UPDATE job SET state = 'pending', rank = :rank, at = NULL, reason = NULL WHERE seq = :seq;

-- name: park
UPDATE job SET state = 'parked', at = :now, rank = :rank, token = NULL, cancel = NULL, reason = :reason WHERE seq = :seq;

-- name: release
UPDATE job SET unique_key = NULL WHERE seq = :seq;

-- name: bury
UPDATE job SET state = 'dead', at = :now, token = NULL, cancel = NULL, unique_key = NULL, reason = :reason,
    errors = :errors
WHERE seq = :seq;

-- name: lost_body
INSERT INTO body(seq, envelope) VALUES (:seq, :envelope)
ON CONFLICT (seq) DO UPDATE SET envelope = excluded.envelope WHERE envelope IS NULL;

-- name: forget_jobs
-- All at once: a statement that runs once a row opens every index once a row.
DELETE FROM job WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: forget_bodies
DELETE FROM body WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: over
SELECT seq FROM job INDEXED BY job_at
WHERE queue = :queue AND state IN ('completed', 'cancelled', 'expired') AND at <= :now LIMIT :most;

-- name: drop_periods
DELETE FROM period WHERE queue = :queue AND key IN (
    SELECT key FROM period WHERE queue = :queue AND until <= :now ORDER BY until LIMIT :most);
