-- PURPOSE  Keeps a message that never became a job as a raw dead letter.
-- KEYS     raw dead letters groups expiry journal
-- ARGV     now journal id name fingerprint retain *fields
-- RETURNS  DONE now
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock journal file
local now = clock(A.now)
if redis.call('EXISTS', K.raw) == 1 then return {'DONE', string.format('%.0f', now)} end
redis.call('HSET', K.raw, 'received_at', now, 'name', A.name, 'fingerprint', A.fingerprint, unpack(ARGV, REST))
redis.call('ZADD', K.dead, now, A.id)
file_letter(A.id, A.name, A.fingerprint, now)
redis.call('ZADD', K.expiry, now + tonumber(A.retain), A.id)
journal('dispatch.message.buried', A.id, '', '', '')
return {'DONE', string.format('%.0f', now)}
