-- PURPOSE  Sets a held run aside until a person decides: its code changed under it, or it kills its processes.
-- KEYS     record from_state from_name to_state to_name held journal
-- ARGV     now journal id token op reason detail
-- RETURNS  DONE | REPEATED state | FENCED state
-- ERRORS   none
-- TRANSITIONS running>parked
-- COST     O(log n)
-- INCLUDE  clock journal move
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'token', 'closed', 'created_at')
if seen[3] == A.token .. ' ' .. A.op and seen[1] == 'parked' then return {'REPEATED', seen[1]} end
if seen[1] ~= 'running' or seen[2] ~= A.token then return {'FENCED', seen[1] or 'missing'} end
redis.call('HDEL', K.held, A.id)
redis.call('HDEL', K.record, 'token', 'holder', 'pid', 'op', 'progress')
move(A.id, 'parked', seen[4], 'closed', A.token .. ' ' .. A.op, 'reason', A.reason, 'detail', A.detail,
  'parked_at', now)
redis.call('PUBLISH', K.record, 'parked')
journal('dispatch.run.parked', A.id, 'running', 'parked', A.token)
return {'DONE'}
