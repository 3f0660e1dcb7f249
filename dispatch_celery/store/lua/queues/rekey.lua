-- PURPOSE  Gives some of those that a limit knows the keys it tells them apart by since it was changed; each keeps its place.
-- KEYS     limit waiting holders known
-- ARGV     by cursor next *words
--          by: what the keys were told by. cursor, next: marks from where to where this goes through all that are known;
--          next is 0 at the end. words: id, number of the request, and key in turn.
-- RETURNS  DONE | STALE (keys are told by something else, or another went on from there)
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(words log n)
-- INCLUDE  relieve rekey
local seen = redis.call('HMGET', K.limit, 'by', 'rekey')
if (seen[1] or '') ~= A.by or seen[2] ~= A.cursor then return {'STALE'} end
relieve(K.waiting)
for at = REST, #ARGV, 3 do rekey(ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
if A.next == '0' then
  redis.call('HDEL', K.limit, 'rekey')
  redis.call('HSET', K.limit, 'review', '')
else
  redis.call('HSET', K.limit, 'rekey', A.next)
end
return {'DONE'}
