-- changes: the last changes by hand of a queue.
-- :queue   text     namespace:queue
-- :now     integer  ms, the store's time
-- :who     text     `user@host` of whoever asked, may be empty
-- :what    text     the change, in a word
-- :many    integer  how many jobs, or 1
-- :reason  text     why, may be empty
-- :names   text     JSON array of the first names
-- :most    integer  rows at most
-- returns: the changes, newest first
-- keeps: the newest ones

-- name: add
INSERT INTO audit(queue, at, who, what, many, reason, names)
VALUES (:queue, :now, :who, :what, :many, :reason, :names);

-- name: cut
DELETE FROM audit WHERE queue = :queue AND seq <= (
    SELECT seq FROM audit WHERE queue = :queue ORDER BY seq DESC LIMIT 1 OFFSET :most);

-- name: changes
SELECT at, who, what, many, reason, names FROM audit WHERE queue = :queue ORDER BY seq DESC LIMIT :most;
