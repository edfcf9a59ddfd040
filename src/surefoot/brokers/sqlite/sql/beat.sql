-- beat: a worker says that it lives.
-- :queue     text     namespace:queue
-- :caller    text     the caller of its turns
-- :presence  blob     JSON about it
-- :now       integer  ms, the store's time
-- returns: nothing
-- keeps: one row a worker

-- name: present
INSERT INTO worker(queue, caller, presence, seen) VALUES (:queue, :caller, :presence, :now)
ON CONFLICT (queue, caller) DO UPDATE SET presence = excluded.presence, seen = excluded.seen;
