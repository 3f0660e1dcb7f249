-- PURPOSE  Runs an entry now, whatever its schedule says and whether it is enabled; its slots stay as they are.
-- KEYS     entry fires record to_state to_name scope lane lanes marks journal due timers
-- ARGV     now journal revision id lane scoped timeout grace event *fields
--          revision: of the entry the fields were taken from; the others as for cron/fire.
-- RETURNS  FIRED now | REPEATED now | STALE | GONE
-- ERRORS   none
-- TRANSITIONS new>pending
-- COST     O(log n)
-- INCLUDE  clock journal ready arm born noted
local now = clock(A.now)
local revision = redis.call('HGET', K.entry, 'revision')
if not revision then return {'GONE'} end
if redis.call('EXISTS', K.record) == 1 then return {'REPEATED', string.format('%.0f', now)} end
if revision ~= A.revision then return {'STALE'} end
born(A.id, now)
redis.call('HSET', K.entry, 'triggered_id', A.id, 'last_at', now)
noted('triggered', '', now, A.id)
return {'FIRED', string.format('%.0f', now)}
