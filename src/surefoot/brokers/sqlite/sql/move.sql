-- move: another due time for waiting jobs.
-- :seq  integer  the row of a job
-- :due  integer  ms, the moment it waits for now
-- returns: nothing
-- keeps: a job that runs or is over is not touched

-- name: schedule
UPDATE job SET state = 'scheduled', at = :due, rank = NULL, due_set = :due, reason = NULL WHERE seq = :seq;

-- name: due_set
UPDATE job SET due_set = :due WHERE seq = :seq;
