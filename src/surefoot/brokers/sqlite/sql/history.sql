-- history: what happened in each minute and hour, and how long jobs waited and ran.
-- :queue   text     namespace:queue
-- :minute  integer  minutes since the epoch, or -1 for all time
-- :hour    integer  hours since the epoch
-- :enqueued   integer  jobs, as the next ones
-- :completed  integer  jobs
-- :failed     integer  runs
-- :retried    integer  jobs
-- :dead       integer  jobs
-- :cancelled  integer  jobs
-- :expired    integer  jobs
-- :recovered  integer  jobs
-- :period  integer  1 for minutes, 60 for hours
-- :at      integer  the minute, or the hour
-- :sketch  blob     counts of buckets, MessagePack
-- :first   integer  the first period that is asked for
-- :before  integer  what is older goes
-- returns: rows as each statement says
-- keeps: a counter only grows

-- name: count_minute
INSERT INTO minute(queue, minute, enqueued, completed, failed, retried, dead, cancelled, expired, recovered)
VALUES (:queue, :minute, :enqueued, :completed, :failed, :retried, :dead, :cancelled, :expired, :recovered)
ON CONFLICT (queue, minute) DO UPDATE SET
    enqueued = enqueued + excluded.enqueued, completed = completed + excluded.completed,
    failed = failed + excluded.failed, retried = retried + excluded.retried, dead = dead + excluded.dead,
    cancelled = cancelled + excluded.cancelled, expired = expired + excluded.expired,
    recovered = recovered + excluded.recovered;

-- name: count_hour
INSERT INTO hour(queue, hour, enqueued, completed, failed, retried, dead, cancelled, expired, recovered)
VALUES (:queue, :hour, :enqueued, :completed, :failed, :retried, :dead, :cancelled, :expired, :recovered)
ON CONFLICT (queue, hour) DO UPDATE SET
    enqueued = enqueued + excluded.enqueued, completed = completed + excluded.completed,
    failed = failed + excluded.failed, retried = retried + excluded.retried, dead = dead + excluded.dead,
    cancelled = cancelled + excluded.cancelled, expired = expired + excluded.expired,
    recovered = recovered + excluded.recovered;

-- name: known_times
SELECT sketch FROM times WHERE queue = :queue AND period = :period AND at = :at;

-- name: set_times
INSERT INTO times(queue, period, at, sketch) VALUES (:queue, :period, :at, :sketch)
ON CONFLICT (queue, period, at) DO UPDATE SET sketch = excluded.sketch;

-- name: minutes
SELECT minute, enqueued, completed, failed, retried, dead, cancelled, expired, recovered FROM minute
WHERE queue = :queue AND (minute >= max(:first, 0) OR minute = -1) ORDER BY minute;

-- name: hours
SELECT hour, enqueued, completed, failed, retried, dead, cancelled, expired, recovered FROM hour
WHERE queue = :queue AND hour >= :first ORDER BY hour;

-- name: times
SELECT at, sketch FROM times WHERE queue = :queue AND period = :period AND at >= :first;

-- name: drop_minutes
DELETE FROM minute WHERE queue = :queue AND minute >= 0 AND minute < :before;

-- name: drop_hours
DELETE FROM hour WHERE queue = :queue AND hour < :before;

-- name: drop_times
DELETE FROM times WHERE queue = :queue AND period = :period AND at < :before;
