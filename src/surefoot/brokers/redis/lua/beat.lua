-- beat: says that a worker lives.
-- KEYS.workers   hash   caller -> `<seen> <presence JSON>`
-- ARGV.worker    text   the caller of its turns
-- ARGV.presence  bytes  JSON
-- uses: time drains house
-- returns: the epoch: another one than before means that the store was emptied or replaced
-- keeps: nothing of any job is touched
found()
redis.call('HSET', KEYS.workers, ARGV.worker, stamp .. ' ' .. ARGV.presence)
return epoch
