-- drains: the first write of a script that must pass on a full server. It removes nothing; what shrinks is not refused.
-- KEYS.leases  zset  id by the end of its lease, ms
redis.call('ZREM', KEYS.leases, '')
