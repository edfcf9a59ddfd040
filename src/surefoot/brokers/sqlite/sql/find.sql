-- find: a page of jobs in one state, newest first: from the last one seen downwards.
-- :queue  text     namespace:queue
-- :state  text     the state, any but pending in `timed`
-- :score  integer  rank or moment of the last one seen; the largest number at first
-- :seq    integer  row of the last one seen; the largest number at first
-- :most   integer  rows at most
-- :key    text     `<task> <key>`
-- :now    integer  ms, the store's time
-- returns: (score, seq, id), or an id
-- keeps: nothing is written

-- name: timed
SELECT at, seq, id FROM job INDEXED BY job_at
WHERE queue = :queue AND state = :state AND at <= :score AND (at, seq) < (:score, :seq)
ORDER BY at DESC, seq DESC LIMIT :most;

-- name: pending
SELECT rank, seq, id FROM job INDEXED BY job_pending
WHERE queue = :queue AND state = 'pending' AND rank <= :score AND (rank, seq) < (:score, :seq)
ORDER BY rank DESC, seq DESC LIMIT :most;

-- name: holder
SELECT id FROM job WHERE queue = :queue AND unique_key = :key
UNION ALL
SELECT id FROM period WHERE queue = :queue AND key = :key AND until > :now
LIMIT 1;
