-- orphans: look for jobs without a body, bodies without a job, keys whose holder is over.
-- :queue  text     namespace:queue
-- :seq    integer  the row after which a page begins
-- :most   integer  rows at most
-- returns: rows as each statement says
-- keeps: nothing is changed

-- name: page
-- The row, the id, its state and time, and whether the envelope is lost. By row, not by an index: it is a page of all.
SELECT j.seq, j.id, j.state, j.at, b.envelope IS NULL
FROM job j NOT INDEXED LEFT JOIN body b ON b.seq = j.seq
WHERE j.queue = :queue AND j.seq > :seq ORDER BY j.seq LIMIT :most;

-- name: strays
SELECT b.seq, b.envelope FROM body b
WHERE b.envelope IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job j WHERE j.seq = b.seq)
ORDER BY b.seq LIMIT :most;

-- name: keys
SELECT unique_key FROM job
WHERE queue = :queue AND unique_key IS NOT NULL AND state IN ('dead', 'completed', 'cancelled', 'expired') LIMIT :most;
