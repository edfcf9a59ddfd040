-- amend: another envelope for a dead job; the one exception to "never changed".
-- :seq       integer  the row of a job
-- :envelope  blob     the job as JSON
-- returns: nothing
-- keeps: counts, errors, key and the time of the enqueue stay

-- name: rewrite
INSERT INTO body(seq, envelope) VALUES (:seq, :envelope)
ON CONFLICT (seq) DO UPDATE SET envelope = excluded.envelope;
