-- PURPOSE  Makes a new job out of a dead letter, once, linked both ways; the dead letter stays.
-- KEYS     dead_record record to_state to_name scope lane lanes marks timers journal
-- ARGV     now journal id lane scoped grace delay edits *fields
--          delay: ms until it is due, or empty; edits: digest of what differs from the dead job, or empty.
-- RETURNS  CREATED now | EXISTING id edits | STATE state
-- ERRORS   none
-- TRANSITIONS new>pending new>scheduled
-- COST     O(log n)
-- INCLUDE  clock journal ready timer
local now = clock(A.now)
local seen = redis.call('HMGET', K.dead_record, 'state', 'replayed_as', 'replayed_with')
if seen[2] then return {'EXISTING', seen[2], seen[3] or ''} end
if seen[1] ~= 'failed' then return {'STATE', seen[1] or 'missing'} end
redis.call('HSET', K.dead_record, 'replayed_as', A.id, 'replayed_with', A.edits)
local state = A.delay == '' and 'pending' or 'scheduled'
redis.call('HSET', K.record, 'state', state, 'created_at', now, 'lane', A.lane, unpack(ARGV, REST))
redis.call('ZADD', K.to_state, now, A.id)
redis.call('ZADD', K.to_name, now, A.id)
if A.scoped == '1' then redis.call('ZADD', K.scope, now, A.id) end
if state == 'pending' then make_ready(A.id, A.lane, now, tonumber(A.grace)) else set_timer(A.id, now + A.delay) end
journal('dispatch.job.enqueued', A.id, 'new', state, '')
return {'CREATED', string.format('%.0f', now)}
