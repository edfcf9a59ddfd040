-- others: what other processes did.
-- :queue   text  namespace:queue
-- :queues  text  JSON array of queues
-- :ids     text  JSON array of ids
-- returns: (queue, its counter of wake-ups); the ids that are not over
-- keeps: nothing is written

-- name: counters
SELECT m.queue, m.value FROM json_each(:queues) e CROSS JOIN meta m ON m.queue = e.value AND m.name = 'wake';

-- name: unended
SELECT j.id FROM json_each(:ids) e CROSS JOIN job j ON j.queue = :queue AND j.id = e.value
WHERE j.state NOT IN ('completed', 'cancelled', 'expired', 'dead');
