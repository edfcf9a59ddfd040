-- cancel: end waiting jobs, ask running ones.
-- :seq     integer  the row of a job
-- :reason  text     what the canceller said; may be empty
-- :now     integer  ms, the store's time
-- :forget  integer  ms, when the outcome is forgotten
-- returns: nothing
-- keeps: the first request to a running job stands

-- name: end_waiting
UPDATE job SET state = 'cancelled', at = :forget, reason = :reason, rank = NULL, note = NULL, since = 0, caller = NULL,
    unique_key = NULL, ended = :now
WHERE seq = :seq;

-- name: ask_running
UPDATE job SET cancel = coalesce(cancel, :reason) WHERE seq = :seq;
