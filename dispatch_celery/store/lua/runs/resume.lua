-- PURPOSE  Makes a parked run ready again, on a person's word.
-- KEYS     record from_state from_name to_state to_name lane lanes marks unknown journal
-- ARGV     now journal id lane grace
-- RETURNS  READY wake | STATE state
-- ERRORS   none
-- TRANSITIONS parked>pending
-- COST     O(log n)
-- INCLUDE  clock journal move ready
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'created_at')
if seen[1] ~= 'parked' then return {'STATE', seen[1] or 'missing'} end
redis.call('HDEL', K.record, 'reason', 'detail', 'parked_at', 'crashes', 'lost_workers', 'unknown_since')
redis.call('ZREM', K.unknown, A.id)
move(A.id, 'pending', seen[2])
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.run.ready', A.id, 'parked', 'pending', '')
return {'READY', wake}
