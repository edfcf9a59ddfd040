-- settle: apply transitions of leased jobs, each fenced by its token; those that write the same are written at once.
-- :queue   text     namespace:queue
-- :ids     text     JSON array of ids
-- :seq     integer  the row of a job
-- :seqs    text     JSON array of rows
-- :state   text     where they go
-- :at      integer  ms, due, parked since, dead since, or to be forgotten; NULL in pending
-- :rank    integer  a new place in pending; NULL: the one it has
-- :reason  text     why it is parked, dead or cancelled, or NULL
-- :ran     integer  1 if this was a run, 0 if the handler was not started
-- :failed       integer  1 if the run failed
-- :crashed      integer  1 if it took its process along
-- :interrupted  integer  1 if a drain ended it
-- :snoozed      integer  1 if it asked for later
-- :errors  blob     all error lines, newest first; NULL: no new one
-- :now     integer  ms, the store's time
-- :result  blob     JSON
-- returns: rows as each statement says
-- keeps: only the holder of the token changes the job

-- name: held
SELECT j.id, j.seq, j.token, j.cancel, j.errors, j.priority
FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value WHERE j.state = 'processing';

-- name: finish
UPDATE job SET state = :state, at = :at, token = NULL, cancel = NULL, note = NULL, unique_key = NULL, reason = :reason,
    runs = runs + :ran, since = since * :ran, errors = coalesce(:errors, errors), ended = :now
WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: keep_result
UPDATE body SET result = :result WHERE seq = :seq;

-- name: bury
UPDATE job SET state = 'dead', at = :at, token = NULL, cancel = NULL, unique_key = NULL, reason = :reason,
    runs = runs + :ran, failures = failures + :failed,
    crashes = CASE WHEN :snoozed THEN 0 ELSE crashes + :crashed END,
    interruptions = interruptions + :interrupted, snoozes = snoozes + :snoozed,
    since = since * :ran, errors = :errors
WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: again
UPDATE job SET state = :state, at = :at, token = NULL, cancel = NULL, rank = coalesce(:rank, rank), reason = :reason,
    runs = runs + :ran, failures = failures + :failed,
    crashes = CASE WHEN :snoozed THEN 0 ELSE crashes + :crashed END,
    interruptions = interruptions + :interrupted, snoozes = snoozes + :snoozed,
    since = since * :ran, errors = coalesce(:errors, errors)
WHERE seq IN (SELECT value FROM json_each(:seqs));
