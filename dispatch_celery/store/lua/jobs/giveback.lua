-- PURPOSE  Delays the wake-up of a job whose name this worker does not know; tells when nobody has known it for too long.
-- KEYS     record lane marks known
-- ARGV     now id name version pause grace
--          version: of a run, the one its message tells, else empty;
--          pause: ms until it is published again; grace: ms an unknown name may wait.
-- RETURNS  WAITING since | ABANDON since | LEFTOVER state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock relieve
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'wake', 'unknown_since', 'version')
if seen[1] ~= 'pending' then return {'LEFTOVER', seen[1] or 'missing'} end
-- It was migrated after its message was made: whoever sweeps the mark publishes it under the version it has now.
local moved = A.version ~= '' and seen[4] ~= A.version
local pause = moved and 0 or tonumber(A.pause)
local since = tonumber(seen[3]) or now
local known = tonumber(redis.call('ZSCORE', K.known, A.name) or 0)
if known > since then since = known end
if not moved and now - since >= tonumber(A.grace) then return {'ABANDON', string.format('%.0f', since)} end
relieve(K.lane)
if not seen[3] and not moved then redis.call('HSET', K.record, 'unknown_since', now) end
redis.call('ZADD', K.marks, now + pause, A.id .. ':' .. seen[2])
redis.call('ZADD', K.lane, now + pause, A.id)
return {'WAITING', string.format('%.0f', since)}
