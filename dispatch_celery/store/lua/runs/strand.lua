-- PURPOSE  Parks a ready run whose workflow no live worker knows; a worker that does lets it go on by itself.
-- KEYS     record from_state from_name to_state to_name lane marks unknown journal
-- ARGV     now journal id detail
-- RETURNS  DONE | STATE state
-- ERRORS   none
-- TRANSITIONS pending>parked
-- COST     O(log n)
-- INCLUDE  clock journal move unready
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'wake')
if seen[1] ~= 'pending' then return {'STATE', seen[1] or 'missing'} end
unready(A.id, seen[3])
move(A.id, 'parked', seen[2], 'reason', 'unknown', 'detail', A.detail, 'parked_at', now)
redis.call('ZADD', K.unknown, now, A.id)
redis.call('PUBLISH', K.record, 'parked')
journal('dispatch.run.parked', A.id, 'pending', 'parked', '')
return {'DONE'}
