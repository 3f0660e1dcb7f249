-- PURPOSE  Registers one incarnation of a worker with a full lease, and the job names it knows.
-- KEYS     workers worker known catalogue
-- ARGV     now id lease field_count *fields
--          fields: field_count names and values of the description, then job names and their catalogue entries.
-- RETURNS  DONE now
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(names)
-- INCLUDE  clock relieve
local now = clock(A.now)
local last = REST - 1 + 2 * tonumber(A.field_count)
relieve(K.workers)
redis.call('ZADD', K.workers, now + tonumber(A.lease), A.id)
redis.call('HSET', K.worker, 'registered_at', now, 'state', 'active', unpack(ARGV, REST, last))
for n = last + 1, #ARGV, 2 do
  redis.call('ZADD', K.known, now, ARGV[n])
  redis.call('HSET', K.catalogue, ARGV[n], ARGV[n + 1])
end
return {'DONE', string.format('%.0f', now)}
