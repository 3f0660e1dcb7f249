-- PURPOSE  Pins a run that nobody holds to another version of its workflow; a parked one goes on.
-- KEYS     record from_state from_name to_state to_name lane lanes marks unknown journal
-- ARGV     now journal id lane expected grace version spec
--          expected: the state the caller saw; from_state and from_name belong to it.
-- RETURNS  READY wake | DONE state (it has that version; where it rests, it goes on when what it waits for has come)
--          | STATE state
-- ERRORS   none
-- TRANSITIONS parked>pending
-- COST     O(log n)
-- INCLUDE  clock journal move ready
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'version')
if seen[1] ~= A.expected or (seen[1] ~= 'pending' and seen[1] ~= 'waiting' and seen[1] ~= 'parked') then
  return {seen[3] == A.version and 'DONE' or 'STATE', seen[1] or 'missing'}
end
redis.call('HDEL', K.record, 'unknown_since')
redis.call('HSET', K.record, 'version', A.version, 'spec', A.spec)
if seen[3] ~= A.version then journal('dispatch.run.migrated', A.id, '', A.version, '') end
if seen[1] ~= 'parked' then return {'DONE', seen[1]} end
redis.call('HDEL', K.record, 'reason', 'detail', 'parked_at', 'crashes', 'lost_workers')
redis.call('ZREM', K.unknown, A.id)
move(A.id, 'pending', seen[2])
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.run.ready', A.id, 'parked', 'pending', '')
return {'READY', wake}
