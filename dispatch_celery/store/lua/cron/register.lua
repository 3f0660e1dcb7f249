-- PURPOSE  Registers an entry, or edits it. An edit by somebody who has not seen the one before is told so.
-- KEYS     entry crons slots declared
-- ARGV     now id declaration expected fingerprint timetable seen next next_due *fields
--          declaration: a digest of what the code declares, or empty for the API; expected: the revision the API's
--          caller has seen, 0 for a new entry. fingerprint: a digest of the fields; timetable: of those that say when.
--          next, next_due: its first slot from now on, and when it is to be fired, by somebody who has seen that `seen` was
--          the next; an entry whose timetable stays keeps its own.
-- RETURNS  CREATED revision | EDITED revision | SAME revision | REVIVED revision | CONFLICT revision
--          | STALE revision (another slot is the next by now)
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock
local now = clock(A.now)
local seen = redis.call('HMGET', K.entry, 'revision', 'declaration', 'fingerprint', 'timetable', 'next_slot', 'next_due',
  'enabled', 'orphaned_at')
local revision = seen[1] or '0'
if A.declaration ~= '' then redis.call('ZADD', K.declared, now, A.id) end
if seen[1] and A.declaration ~= '' and seen[2] == A.declaration then
  if not seen[8] then return {'SAME', revision} end
  -- Its slots wait where they were: the misfire policy says what becomes of them.
  redis.call('HDEL', K.entry, 'orphaned_at')
  if seen[7] == '1' and seen[5] ~= '' then redis.call('ZADD', K.slots, seen[6], A.id) end
  redis.call('PUBLISH', K.slots, 'edited')
  return {'REVIVED', revision}
end
if A.declaration == '' then
  if seen[1] and seen[3] == A.fingerprint then return {'SAME', revision} end
  if A.expected ~= revision then return {'CONFLICT', revision} end
end

local kept = seen[4] == A.timetable
if seen[1] and not kept and (seen[5] or '') ~= A.seen then return {'STALE', revision} end
local next, next_due = kept and seen[5] or A.next, kept and seen[6] or A.next_due
revision = string.format('%.0f', tonumber(revision) + 1)
redis.call('HSET', K.entry, 'revision', revision, 'fingerprint', A.fingerprint, 'timetable', A.timetable,
  'next_slot', next, 'next_due', next_due, 'updated_at', now, unpack(ARGV, REST))
redis.call('HDEL', K.entry, 'orphaned_at')
if A.declaration ~= '' then redis.call('HSET', K.entry, 'declaration', A.declaration, 'origin', 'code') end
if not seen[1] then
  redis.call('HSET', K.entry, 'created_at', now, 'enabled', '1')
  redis.call('HSETNX', K.entry, 'origin', 'api')
  redis.call('ZADD', K.crons, now, A.id)
end
if (seen[7] or '1') == '1' and next ~= '' then redis.call('ZADD', K.slots, next_due, A.id) else redis.call('ZREM', K.slots, A.id) end
redis.call('PUBLISH', K.slots, 'edited')
return {seen[1] and 'EDITED' or 'CREATED', revision}
