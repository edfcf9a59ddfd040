-- configure: set words of the queue: pause, longest length, a paused cron entry.
-- :queue  text  namespace:queue
-- :name   text  the word
-- returns: the value it has now
-- keeps: a queue that is paused again keeps its first moment

-- name: value
SELECT value FROM meta WHERE queue = :queue AND name = :name;
