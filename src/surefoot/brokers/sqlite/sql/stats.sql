-- stats: the queue in numbers.
-- :queue   text     namespace:queue
-- :now     integer  ms, the store's time
-- :most    integer  how many of the next pending jobs are looked at
-- :prefix  text     how the names of words begin
-- :after   text     the first text behind all that begin so
-- returns: rows as each statement says
-- keeps: nothing is written

-- name: counts
SELECT (SELECT count(*) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'scheduled' AND at IS NOT NULL),
    (SELECT count(*) FROM job INDEXED BY job_pending WHERE queue = :queue AND state = 'pending'),
    (SELECT count(*) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'parked' AND at IS NOT NULL),
    (SELECT count(*) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'processing' AND at IS NOT NULL),
    (SELECT count(*) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'dead' AND at IS NOT NULL),
    (SELECT count(*) FROM job INDEXED BY job_at WHERE queue = :queue AND state = 'processing' AND at <= :now);

-- name: oldest
SELECT min(enqueued) FROM (SELECT enqueued FROM job INDEXED BY job_pending
    WHERE queue = :queue AND state = 'pending' ORDER BY rank LIMIT :most);

-- name: workers
SELECT caller, seen, presence FROM worker WHERE queue = :queue ORDER BY caller;

-- name: words
SELECT name, value FROM meta WHERE queue = :queue AND name >= :prefix AND name < :after;

-- name: queues
SELECT queue FROM meta WHERE queue >= :prefix AND queue < :after AND name = 'layout' ORDER BY queue;
