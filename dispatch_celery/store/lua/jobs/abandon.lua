-- PURPOSE  Dead-letters a ready job that no live worker can run; a worker that can reopens it.
-- KEYS     record from_state from_name to_state to_name lane marks dead letters groups unknown expiry idempotency permits journal *parent
-- ARGV     now journal id error reason fingerprint keyed retain retain_key grace parent parent_at
-- RETURNS  DONE now wake (of the run it belongs to, or empty) | STATE state
-- ERRORS   none
-- TRANSITIONS pending>failed
-- COST     O(log n)
-- INCLUDE  clock journal move unready file retain entry ready wake strike ended join post yield withdraw
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'wake', 'name')
if seen[1] ~= 'pending' then return {'STATE', seen[1] or 'missing'} end
unready(A.id, seen[3])
move(A.id, 'failed', seen[2], 'error', A.error, 'reason', A.reason, 'finished_at', now,
  'fingerprint', A.fingerprint)
redis.call('ZADD', K.dead, now, A.id)
file_letter(A.id, seen[4], A.fingerprint, now)
if A.reason == 'unknown' then redis.call('ZADD', K.unknown, now, A.id) end
withdraw(A.id, now)
retain_record(A.id, now, tonumber(seen[2]), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, 'failed')
journal('dispatch.job.failed', A.id, 'pending', 'failed', '')
return {'DONE', string.format('%.0f', now), join('failed', ended('failed', A.error), now, false)}
