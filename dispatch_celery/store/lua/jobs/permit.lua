-- PURPOSE  Hands a job the permit it asked for: it is ready, or asks for the permit of the next limit.
-- KEYS     record from_state from_name to_state to_name lane lanes marks limits permits journal
-- ARGV     now journal id name lane limit ask free grace
--          ask: which of the job's requests the permit answers. free: 1 where there is no such limit any more: the job
--          goes without a permit, which one that is set meanwhile would not know of.
-- RETURNS  READY wake | LIMITED limit (it lacks another) | REPEATED state (it has it already) | LEFTOVER state
-- ERRORS   none
-- TRANSITIONS limited>pending
-- COST     O(log n)
-- INCLUDE  clock journal relieve move ready gate post yield park
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'limit', 'asks', 'permits')
local state, permits = seen[1] or 'missing', seen[5] or ''
local permit = '\n' .. A.limit .. '=' .. A.ask
if string.find(permits .. '\n', permit .. '\n', 1, true) then return {'REPEATED', state} end
if state ~= 'limited' or seen[3] ~= A.limit or seen[4] ~= A.ask then return {'LEFTOVER', state} end
relieve(K.lane)
if A.free ~= '1' then
  permits = permits .. permit
  redis.call('HSET', K.record, 'permits', permits)
end
local limit = gate(A.name, A.lane, permits)
if limit then
  if string.sub(limit, 1, 4) == 'job:' then yield(A.id, permits, now) end
  park(K.record, A.id, limit, now)
  return {'LIMITED', limit}
end
move(A.id, 'pending', seen[2])
redis.call('HDEL', K.record, 'limit', 'limited_at')
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.job.ready', A.id, 'limited', 'pending', '')
return {'READY', wake}
