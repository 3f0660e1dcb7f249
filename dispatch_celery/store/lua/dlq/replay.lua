-- PURPOSE  Makes a new job out of a dead letter, once, linked both ways; the dead letter stays.
-- KEYS     dead_record record ready_state ready_name later_state later_name scope lane lanes marks timers pace journal
-- ARGV     now journal id lane scoped grace delay interval edits *fields
--          delay: ms until it is due, or empty; interval: instead of a delay, ms between it and the next of its line,
--          or empty; edits: digest of what differs from the dead job, or empty.
-- RETURNS  CREATED now state | EXISTING id edits | STATE state
-- ERRORS   none
-- TRANSITIONS new>pending new>scheduled
-- COST     O(log n)
-- INCLUDE  clock journal ready timer
local now = clock(A.now)
local seen = redis.call('HMGET', K.dead_record, 'state', 'replayed_as', 'replayed_with')
if seen[2] then return {'EXISTING', seen[2], seen[3] or ''} end
if seen[1] ~= 'failed' then return {'STATE', seen[1] or 'missing'} end
local due = A.delay ~= '' and now + A.delay
local turn = A.interval ~= '' and math.max(now, tonumber(redis.call('GET', K.pace) or '0'))
if turn and math.floor(turn) > now then due = math.floor(turn) end
local state = due and 'scheduled' or 'pending'
redis.call('HSET', K.dead_record, 'replayed_as', A.id, 'replayed_with', A.edits)
redis.call('HSET', K.record, 'state', state, 'created_at', now, 'lane', A.lane, unpack(ARGV, REST))
redis.call('ZADD', due and K.later_state or K.ready_state, now, A.id)
redis.call('ZADD', due and K.later_name or K.ready_name, now, A.id)
if A.scoped == '1' then redis.call('ZADD', K.scope, now, A.id) end
if turn then
  local after = turn + A.interval
  redis.call('SET', K.pace, string.format('%.3f', after), 'PX', string.format('%.0f', math.ceil(after - now)))
end
if due then set_timer(A.id, due) else make_ready(A.id, A.lane, now, tonumber(A.grace)) end
journal('dispatch.job.enqueued', A.id, 'new', state, '')
return {'CREATED', string.format('%.0f', now), state}
