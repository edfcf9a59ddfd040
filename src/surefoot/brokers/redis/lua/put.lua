-- put: stores jobs; each stands alone.
-- KEYS.leases      zset     id by the end of its lease, ms
-- ARGV.max_length  integer  the most jobs that may wait; -1: as set on the queue
-- ARGV.keep_ms     ms       how long a job that is replaced is kept; -1: for ever
-- ARGV.many        integer  how many jobs follow
-- ARGV.rest        text     8 a job: id, envelope, due ("" now, "+ms" after now, or ms), priority, key or "",
--                           until (done, start, or ms of a period), "replace" or "", traits as JSON or ""
-- uses: time house memory store
-- returns: a verdict a line: created, exists, taken:<id>, replaced:<id>, full
-- keeps: all or nothing; an id is stored once; a key has one holder
if answer then
  -- WAIT asks how far the replicas are with the last write of its connection, and a repeat may come on another one.
  redis.call('ZREM', KEYS.leases, '') -- passes on a full server
  redis.call('HSET', KEYS.meta, 'call:put:' .. ARGV.caller, house[7])
  return answer
end
local limit = tonumber(ARGV.max_length)
if limit < 0 then
  limit = tonumber(house[5] or -1) or -1
end
local verdicts, refused = store($REST, tonumber(ARGV.many), limit, tonumber(ARGV.keep_ms))
if refused then
  return refused
end
local said = table.concat(verdicts, '\n')
remember(said)
return said
