-- PURPOSE  Deletes a raw dead letter.
-- KEYS     raw dead letters groups expiry
-- ARGV     id
-- RETURNS  DONE | MISSING
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  unfile
local name, print, died = unpack(redis.call('HMGET', K.raw, 'name', 'fingerprint', 'received_at'))
redis.call('ZREM', K.dead, A.id)
unfile_letter(A.id, name, print, died)
redis.call('ZREM', K.expiry, A.id)
return {redis.call('DEL', K.raw) == 1 and 'DONE' or 'MISSING'}
