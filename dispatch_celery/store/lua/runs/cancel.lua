-- PURPOSE  Cancels a run that nobody holds, and that has nothing to undo, or is to leave it as it is.
-- KEYS     record from_state from_name to_state to_name lane marks waits due open timers unknown expiry idempotency journal *parent
-- ARGV     now journal id expected reason discard keyed retain retain_key grace parent parent_at by
--          expected: the state the caller saw; from_state and from_name belong to it. discard: 1 to leave the effects.
--          by: token and revision of the run in whose name it is asked, or empty.
-- RETURNS  DONE now wake (of the run it belongs to, or empty) | OPEN undoing (what it did is to be undone first; empty while it goes forward) | STATE state | MISSING | FENCED state (of the run it belongs to)
-- ERRORS   none
-- TRANSITIONS pending>cancelled waiting>cancelled parked>cancelled
-- COST     O(log n)
-- INCLUDE  clock journal move unready retain entry ready wake strike ended join leave
local now = clock(A.now)
local refusal = leave()
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'wake', 'undoing')
if not seen[1] then return {'MISSING'} end
if seen[1] ~= A.expected or (seen[1] ~= 'pending' and seen[1] ~= 'waiting' and seen[1] ~= 'parked') then
  return {'STATE', seen[1]}
end
if A.discard ~= '1' and (seen[4] or redis.call('ZCARD', K.open) > 0) then return {'OPEN', seen[4] or ''} end
redis.call('DEL', K.waits, K.due)
redis.call('ZREM', K.timers, A.id)
redis.call('ZREM', K.unknown, A.id)
unready(A.id, seen[3])
move(A.id, 'cancelled', seen[2], 'reason', A.reason, 'finished_at', now)
retain_record(A.id, now, tonumber(seen[2]), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, 'cancelled')
journal('dispatch.run.cancelled', A.id, A.expected, 'cancelled', '')
return {'DONE', string.format('%.0f', now), join('cancelled', ended('cancelled', A.reason), now, false)}
