-- prune: forget what is over, in bounded bites.
-- :queue   text     namespace:queue
-- :before  integer  ms: what is older goes
-- :now     integer  ms, the store's time
-- :most    integer  rows at most
-- returns: rows as each statement says
-- keeps: a dead letter goes only where a worker gave a count or an age

-- name: count_dead
SELECT count(*) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'dead' AND at IS NOT NULL;

-- name: oldest_dead
SELECT seq, id FROM job INDEXED BY job_at
WHERE queue = :queue AND state = 'dead' AND at IS NOT NULL ORDER BY at, seq LIMIT :most;

-- name: aged_dead
SELECT seq, id FROM job INDEXED BY job_at
WHERE queue = :queue AND state = 'dead' AND at < :before ORDER BY at, seq LIMIT :most;

-- name: drop_workers
DELETE FROM worker WHERE queue = :queue AND caller IN (
    SELECT caller FROM worker WHERE queue = :queue AND seen < :before LIMIT :most);

-- name: mend
-- A moment that is no number, but text or a blob, comes behind all numbers: what somebody else wrote there is now.
UPDATE job SET at = :now WHERE seq IN (SELECT seq FROM job INDEXED BY job_at WHERE queue = :queue
    AND state IN ('scheduled', 'parked', 'processing', 'dead', 'completed', 'cancelled', 'expired') AND at >= '');

-- name: unknown
-- `task:` is the range up to `task;`.
SELECT seq, id, errors FROM job INDEXED BY job_at
WHERE queue = :queue AND state = 'parked' AND at < :before AND reason >= 'task:' AND reason < 'task;'
ORDER BY at, seq LIMIT :most;
