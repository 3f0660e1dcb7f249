-- PURPOSE  Makes a new job out of a dead letter, once, linked both ways; the dead letter stays.
-- KEYS     dead_record record to_state to_name scope lane lanes marks journal
-- ARGV     now journal id lane scoped grace *fields
-- RETURNS  CREATED now | EXISTING id | STATE state
-- ERRORS   none
-- TRANSITIONS new>pending
-- COST     O(log n)
-- INCLUDE  clock journal ready
local now = clock(A.now)
local seen = redis.call('HMGET', K.dead_record, 'state', 'replayed_as')
if seen[2] then return {'EXISTING', seen[2]} end
if seen[1] ~= 'failed' then return {'STATE', seen[1] or 'missing'} end
redis.call('HSET', K.dead_record, 'replayed_as', A.id)
redis.call('HSET', K.record, 'state', 'pending', 'created_at', now, 'lane', A.lane, unpack(ARGV, REST))
redis.call('ZADD', K.to_state, now, A.id)
redis.call('ZADD', K.to_name, now, A.id)
if A.scoped == '1' then redis.call('ZADD', K.scope, now, A.id) end
make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.job.enqueued', A.id, 'new', 'pending', '')
return {'CREATED', string.format('%.0f', now)}
