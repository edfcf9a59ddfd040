-- schema: the tables of layout 1; `queue` is always `namespace:queue`, every moment is milliseconds since the epoch.
-- returns: nothing
-- keeps: a job is one row of `job` and one of `body` with the same seq, and its state says in which place it is

-- name: job
-- priority 0 (first) to 9. rank: its place in pending, kept while it runs or is parked.
-- at: the moment its state is about. scheduled: due. processing: the lease's end. parked, dead: since. completed,
-- cancelled, expired: to be forgotten (2^63 - 1 is never). pending has none. ended: when it finished.
-- token, since, caller: the running lease; since and caller stay as those of the last (since 0: never started).
-- due_set: the due time that a requeue or a move set. reason: of parked, dead or cancelled. cancel: the reason of a
-- request to a running job. unique_key: NULL once released, its text stays in traits. errors: lines of JSON, newest
-- first.
CREATE TABLE IF NOT EXISTS job(
    seq INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    at INTEGER,
    priority INTEGER NOT NULL,
    rank INTEGER,
    token TEXT,
    since INTEGER NOT NULL DEFAULT 0,
    caller TEXT,
    runs INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    snoozes INTEGER NOT NULL DEFAULT 0,
    due_set INTEGER,
    reason TEXT,
    cancel TEXT,
    unique_key TEXT,
    needs INTEGER NOT NULL DEFAULT 1,
    enqueued INTEGER NOT NULL,
    ended INTEGER,
    errors BLOB,
    note BLOB,
    traits TEXT
);

-- name: body
-- Apart from job, because an update of a row rewrites the whole of it.
CREATE TABLE IF NOT EXISTS body(
    seq INTEGER PRIMARY KEY,
    envelope BLOB,
    result BLOB
);

-- name: job_id
CREATE UNIQUE INDEX IF NOT EXISTS job_id ON job(queue, id);

-- name: job_pending
CREATE INDEX IF NOT EXISTS job_pending ON job(queue, rank) WHERE state = 'pending';

-- name: job_at
-- One index for all other places: each index more costs every change of a row, whether it applies to the row or not.
CREATE INDEX IF NOT EXISTS job_at ON job(queue, state, at) WHERE at IS NOT NULL;

-- name: job_parked
CREATE INDEX IF NOT EXISTS job_parked ON job(queue, reason, rank) WHERE state = 'parked';

-- name: job_key
CREATE UNIQUE INDEX IF NOT EXISTS job_key ON job(queue, unique_key) WHERE unique_key IS NOT NULL;

-- name: period
-- A key that is held until a moment, whatever becomes of the job `id`.
CREATE TABLE IF NOT EXISTS period(
    queue TEXT NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;

-- name: period_until
CREATE INDEX IF NOT EXISTS period_until ON period(queue, until);

-- name: caller
-- The last answer to each verb of each caller.
CREATE TABLE IF NOT EXISTS caller(
    queue TEXT NOT NULL,
    verb TEXT NOT NULL,
    id TEXT NOT NULL,
    call INTEGER NOT NULL,
    tag TEXT NOT NULL,
    answer BLOB NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (queue, verb, id)
) WITHOUT ROWID;

-- name: worker
CREATE TABLE IF NOT EXISTS worker(
    queue TEXT NOT NULL,
    caller TEXT NOT NULL,
    presence BLOB NOT NULL,
    seen INTEGER NOT NULL,
    PRIMARY KEY (queue, caller)
) WITHOUT ROWID;

-- name: minute
-- What happened in each minute of the last day; minute -1 counts since the beginning.
CREATE TABLE IF NOT EXISTS minute(
    queue TEXT NOT NULL,
    minute INTEGER NOT NULL,
    enqueued INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    retried INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    recovered INTEGER NOT NULL,
    PRIMARY KEY (queue, minute)
) WITHOUT ROWID;

-- name: hour
-- The same in each hour of the last 30 days.
CREATE TABLE IF NOT EXISTS hour(
    queue TEXT NOT NULL,
    hour INTEGER NOT NULL,
    enqueued INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    retried INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    recovered INTEGER NOT NULL,
    PRIMARY KEY (queue, hour)
) WITHOUT ROWID;

-- name: times
-- How long jobs waited and ran, by minutes (`period` 1) and by hours (60): counts of buckets, as MessagePack.
CREATE TABLE IF NOT EXISTS times(
    queue TEXT NOT NULL,
    period INTEGER NOT NULL,
    at INTEGER NOT NULL,
    sketch BLOB NOT NULL,
    PRIMARY KEY (queue, period, at)
) WITHOUT ROWID;

-- name: audit
-- The last changes by hand: who asked for what, how many jobs it changed, and the first of them by name.
CREATE TABLE IF NOT EXISTS audit(
    seq INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    many INTEGER NOT NULL,
    reason TEXT NOT NULL,
    names TEXT NOT NULL
);

-- name: audit_queue
CREATE INDEX IF NOT EXISTS audit_queue ON audit(queue, seq);

-- name: meta
-- The words of a queue; those of the whole store (layout, last) stand under the empty queue.
CREATE TABLE IF NOT EXISTS meta(
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    value,
    PRIMARY KEY (queue, name)
) WITHOUT ROWID;
