-- repair: give lost jobs a body, stray bodies a job, and let go of keys whose holder is over.
-- :queue     text     namespace:queue
-- :ids       text     JSON array of ids
-- :id        text     an id
-- :seq       integer  a row
-- :priority  integer  0 (first) to 9
-- :rank      integer  its place in pending
-- :now       integer  ms, the store's time
-- :key       text     `<task> <key>`
-- returns: rows as each statement says
-- keeps: an id is stored once; a body is never dropped

-- name: look
SELECT j.id, j.seq, j.state, j.at, j.errors, b.envelope IS NULL
FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value LEFT JOIN body b ON b.seq = j.seq;

-- name: adopt
INSERT INTO job(seq, queue, id, state, priority, rank, enqueued)
VALUES (:seq, :queue, :id, 'pending', :priority, :rank, :now);

-- name: free
UPDATE job SET unique_key = NULL
WHERE queue = :queue AND unique_key = :key AND state IN ('dead', 'completed', 'cancelled', 'expired');
