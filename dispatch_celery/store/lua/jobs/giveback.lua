-- PURPOSE  Delays the wake-up of a job whose name this worker does not know; tells when nobody has known it for too long.
-- KEYS     record lane marks known
-- ARGV     now id name pause grace
--          pause: ms until it is published again; grace: ms an unknown name may wait.
-- RETURNS  WAITING since | ABANDON since | LEFTOVER state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock relieve
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'wake', 'unknown_since')
if seen[1] ~= 'pending' then return {'LEFTOVER', seen[1] or 'missing'} end
local since = tonumber(seen[3]) or now
local known = tonumber(redis.call('ZSCORE', K.known, A.name) or 0)
if known > since then since = known end
if now - since >= tonumber(A.grace) then return {'ABANDON', string.format('%.0f', since)} end
relieve(K.lane)
if not seen[3] then redis.call('HSET', K.record, 'unknown_since', now) end
redis.call('ZADD', K.marks, now + tonumber(A.pause), A.id .. ':' .. seen[2])
redis.call('ZADD', K.lane, now + tonumber(A.pause), A.id)
return {'WAITING', string.format('%.0f', since)}
