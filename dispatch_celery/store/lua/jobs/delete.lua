-- PURPOSE  Deletes the record of an ended job, and everything that names it.
-- KEYS     record from_state from_name scope dead letters groups unknown expiry leader idempotency journal
-- ARGV     now journal id expected term force keyed retain_key
--          force: 1 to delete it before its retention has passed.
-- RETURNS  DONE | STATE state
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS completed>gone failed>gone cancelled>gone
-- COST     O(log n)
-- INCLUDE  clock journal term unfile
local now = clock(A.now)
local lost = reigns(A.term)
if lost then return lost end
local state, created, name, print, died =
  unpack(redis.call('HMGET', K.record, 'state', 'created_at', 'name', 'fingerprint', 'finished_at'))
if not state then
  redis.call('ZREM', K.expiry, A.id)
  return {'STATE', 'missing'}
end
if state ~= A.expected or (state ~= 'completed' and state ~= 'failed' and state ~= 'cancelled') then
  return {'STATE', state}
end
local expiry = redis.call('ZSCORE', K.expiry, A.id)
if A.force ~= '1' and (not expiry or tonumber(expiry) > now) then return {'STATE', state} end
redis.call('DEL', K.record)
redis.call('ZREM', K.from_state, A.id)
redis.call('ZREM', K.from_name, A.id)
redis.call('ZREM', K.scope, A.id)
redis.call('ZREM', K.dead, A.id)
unfile_letter(A.id, name, print, died)
redis.call('ZREM', K.unknown, A.id)
redis.call('ZREM', K.expiry, A.id)
if A.keyed == '1' then
  local first = redis.call('GET', K.idempotency)
  if first and string.match(first, '^(%S+)') == A.id then
    redis.call('PEXPIREAT', K.idempotency, string.format('%.0f', math.max(now, created + A.retain_key)))
  end
end
journal('dispatch.job.deleted', A.id, state, 'gone', '')
return {'DONE'}
