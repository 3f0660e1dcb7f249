-- PURPOSE  Files a dead letter that an older release left unfiled, or takes an entry out that is of none any more.
-- KEYS     entry dead letters groups
-- ARGV     id name fingerprint filed_at
--          name, fingerprint, filed_at: of an entry, as it is filed; with filed_at empty, of a dead letter: what it is
--          filed under if it has no fingerprint of its own.
-- RETURNS  KEPT | DONE | MISSING
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(names * log n)
-- INCLUDE  file unfile
local died = redis.call('ZSCORE', K.dead, A.id)
local name, print = unpack(redis.call('HMGET', K.entry, 'name', 'fingerprint'))
if A.filed_at ~= '' then
  local is_so = died and tonumber(died) == tonumber(A.filed_at)
  if is_so and name == A.name and print == A.fingerprint then return {'KEPT'} end
  unfile_letter(A.id, A.name, A.fingerprint, A.filed_at)
  return {'DONE'}
end
if not died then return {'MISSING'} end
if not print then redis.call('HSET', K.entry, 'fingerprint', A.fingerprint, 'name', name or '') end
file_letter(A.id, name or '', print or A.fingerprint, tonumber(died))
return {'DONE'}
