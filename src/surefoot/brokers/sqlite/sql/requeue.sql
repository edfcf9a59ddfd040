-- requeue: dead jobs go to the tail of pending, at once or when they are due, their keys taken again.
-- :queue  text     namespace:queue
-- :seq    integer  the row of a job
-- :key    text     `<task> <key>`, or NULL if it holds none until done
-- :now    integer  ms, the store's time, or when the job is due again
-- returns: the holder of a key, if it has one
-- keeps: runs only grow; a key has one holder

-- name: holder
SELECT id FROM job WHERE queue = :queue AND unique_key = :key
UNION ALL
SELECT id FROM period WHERE queue = :queue AND key = :key AND until > :now
LIMIT 1;

-- name: revive
UPDATE job SET failures = 0, crashes = 0, due_set = :now, unique_key = :key WHERE seq = :seq;

-- name: end_period
DELETE FROM period WHERE queue = :queue AND key = :key;
