-- PURPOSE  Strikes off one open undo of a parked run, on a person's word that it is not needed any more.
-- KEYS     record undos open journal
-- ARGV     now journal id identity
-- RETURNS  DONE left | STATE state | MISSING
--          left: how many undos are open still.
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n) in the undos of the run
-- INCLUDE  clock journal entry
local now = clock(A.now)
local state = redis.call('HGET', K.record, 'state')
if state ~= 'parked' then return {'STATE', state or 'missing'} end
local place = redis.call('ZSCORE', K.open, A.identity)
if not place then return {'MISSING'} end
redis.call('ZREM', K.open, A.identity)
local rest = string.match(redis.call('HGET', K.undos, A.identity), '^%a+ %S+ %S+ (.*)$')
redis.call('HSET', K.undos, A.identity, entry('skipped', place, now, rest))
journal('dispatch.run.skipped', A.id, '', A.identity, '')
return {'DONE', tostring(redis.call('ZCARD', K.open))}
