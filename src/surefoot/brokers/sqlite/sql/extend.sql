-- extend: renew leases and store the notes that come with them.
-- :queue  text     namespace:queue
-- :ids    text     JSON array of ids
-- :seq    integer  the row of a job
-- :end    integer  ms, when its lease ends now
-- :note   blob     progress as JSON; NULL: as it was
-- returns: the leases of these ids
-- keeps: a lease never gets shorter

-- name: leases
SELECT j.id, j.seq, j.token, j.cancel
FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value WHERE j.state = 'processing';

-- name: renew
UPDATE job SET at = max(at, :end), note = coalesce(:note, note) WHERE seq = :seq;
