-- put: stores jobs; each stands alone.
-- ARGV.max_length  integer  the most jobs that may wait; -1: as set on the queue
-- ARGV.keep_ms     ms       how long a job that is replaced is kept; -1: for ever
-- ARGV.many        integer  how many jobs follow
-- ARGV.rest        text     8 a job: id, envelope, due ("" now, "+ms" after now, or ms), priority, key or "",
--                           until (done, start, or ms of a period), "replace" or "", traits as JSON or ""
-- uses: time house memory store
-- returns: a verdict a line: created, exists, taken:<id>, replaced:<id>, full
-- keeps: all or nothing; an id is stored once; a key has one holder
if answer then
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
