-- PURPOSE  Takes a job or run that has not ended, or is gone, out of what is to be deleted. One that has ended stays: it
--          may have been reopened and have ended again since the caller looked, and this entry is all that deletes it.
-- KEYS     record expiry
-- ARGV     id
-- RETURNS  DONE | ENDED
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  none
local state = redis.call('HGET', K.record, 'state')
if state == 'completed' or state == 'failed' or state == 'cancelled' then return {'ENDED'} end
redis.call('ZREM', K.expiry, A.id)
return {'DONE'}
