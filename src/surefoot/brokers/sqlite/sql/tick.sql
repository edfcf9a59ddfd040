-- tick: fire one tick of a cron entry once, whoever asks; the job goes in as by put.
-- :queue   text  namespace:queue
-- :last    text  the word that holds the last tick
-- :paused  text  the word that says since when and why the entry is paused
-- returns: the two words, as far as they are set
-- keeps: a tick that was fired is not fired again

-- name: cron
SELECT name, value FROM meta WHERE queue = :queue AND name IN (:last, :paused);
