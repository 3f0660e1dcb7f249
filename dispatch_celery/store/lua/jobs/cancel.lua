-- PURPOSE  Cancels a job that nobody holds, at once.
-- KEYS     record from_state from_name to_state to_name lane marks timers expiry idempotency permits journal *parent
-- ARGV     now journal id expected reason keyed retain retain_key grace parent parent_at by
--          expected: the state the caller saw; from_state and from_name belong to it.
--          by: token and revision of the run in whose name it is asked, or empty.
-- RETURNS  DONE now wake (of the run it belongs to, or empty) | STATE state | MISSING | FENCED state (of the run)
-- ERRORS   none
-- TRANSITIONS scheduled>cancelled limited>cancelled pending>cancelled retrying>cancelled
-- COST     O(log n)
-- INCLUDE  clock journal move unready retain entry ready wake strike ended join leave post yield withdraw
local now = clock(A.now)
local refusal = leave()
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'wake')
if not seen[1] then return {'MISSING'} end
local free = seen[1] == 'scheduled' or seen[1] == 'limited' or seen[1] == 'pending' or seen[1] == 'retrying'
if seen[1] ~= A.expected or not free then
  return {'STATE', seen[1]}
end
redis.call('ZREM', K.timers, A.id)
unready(A.id, seen[3])
move(A.id, 'cancelled', seen[2], 'reason', A.reason, 'finished_at', now)
redis.call('HDEL', K.record, 'due_at')
withdraw(A.id, now)
retain_record(A.id, now, tonumber(seen[2]), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, 'cancelled')
journal('dispatch.job.cancelled', A.id, A.expected, 'cancelled', '')
return {'DONE', string.format('%.0f', now), join('cancelled', ended('cancelled', A.reason), now, false)}
