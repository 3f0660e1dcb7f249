-- PURPOSE  Deletes an ended run's record, its journal, and all that names it.
-- KEYS     record from_state from_name scope promises aside consumed waits due undos open expiry idempotency leader journal
-- ARGV     now journal id expected term keyed retain_key
-- RETURNS  DONE | STATE state
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS completed>gone failed>gone cancelled>gone
-- COST     O(n) in the promises of the run, freed by the server in the background
-- INCLUDE  clock journal term
local lost = reigns(A.term)
if lost then return lost end
local state, created = unpack(redis.call('HMGET', K.record, 'state', 'created_at'))
if state ~= A.expected or (state ~= 'completed' and state ~= 'failed' and state ~= 'cancelled') then
  return {'STATE', state or 'missing'}
end
local due = redis.call('ZSCORE', K.expiry, A.id)
if due and tonumber(due) > clock(A.now) then return {'STATE', state} end
redis.call('ZREM', K.expiry, A.id)
redis.call('ZREM', K.from_state, A.id)
redis.call('ZREM', K.from_name, A.id)
redis.call('ZREM', K.scope, A.id)
if A.keyed == '1' and string.match(redis.call('GET', K.idempotency) or '', '^%S+') == A.id then
  redis.call('PEXPIREAT', K.idempotency, string.format('%.0f', math.max(clock(A.now), created + A.retain_key)))
end
redis.call('UNLINK', K.record, K.promises, K.aside, K.consumed, K.waits, K.due, K.undos, K.open)
journal('dispatch.run.deleted', A.id, A.expected, 'gone', '')
return {'DONE'}
