-- PURPOSE  Makes a failed job ready again under the same id, with its attempts and crashes counted anew.
-- KEYS     record from_state from_name to_state to_name lane lanes marks dead letters groups unknown expiry idempotency journal
-- ARGV     now journal id lane grace keyed
-- RETURNS  READY wake | REPLAYED id | STATE state | TAKEN id (there is another of its kind by now)
-- ERRORS   none
-- TRANSITIONS failed>pending
-- COST     O(log n)
-- INCLUDE  clock journal move ready unfile
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'replayed_as', 'name', 'fingerprint', 'finished_at')
if seen[1] ~= 'failed' then return {'STATE', seen[1] or 'missing'} end
if seen[3] then return {'REPLAYED', seen[3]} end
local other = A.keyed == 'unique' and string.match(redis.call('GET', K.idempotency) or '', '^%S+')
if other and other ~= A.id then return {'TAKEN', other} end
redis.call('ZREM', K.dead, A.id)
unfile_letter(A.id, seen[4], seen[5], seen[6])
redis.call('ZREM', K.unknown, A.id)
redis.call('ZREM', K.expiry, A.id)
move(A.id, 'pending', seen[2])
redis.call('HDEL', K.record, 'error', 'reason', 'fingerprint', 'finished_at', 'attempts', 'crashes', 'lost_workers', 'snoozes',
  'unknown_since', 'expires_at')
if A.keyed == '1' and string.match(redis.call('GET', K.idempotency) or '', '^%S+') == A.id then
  redis.call('PERSIST', K.idempotency)
end
if A.keyed == 'unique' then redis.call('SET', K.idempotency, A.id .. ' unique') end
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.job.reopened', A.id, 'failed', 'pending', '')
return {'READY', wake}
