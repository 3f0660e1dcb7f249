-- PURPOSE  Notes that an entry of beat_schedule is about to be sent, under an id, after its last run; or that it was sent.
-- KEYS     sent leader
-- ARGV     term name last next id
--          last: its last run as the caller knows it, ms since 1970, or empty for an entry that is not known yet; next:
--          the run that is sent now, or empty: what was to be sent has been. id: of what is sent.
-- RETURNS  DONE | KNOWN last id (somebody else has noted another run; id is of what is still to be sent, or empty)
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  term
local refusal = reigns(A.term)
if refusal then return refusal end
local seen = redis.call('HGET', K.sent, A.name)
local last, id = string.match(seen or '', '^(%d*) (%S*)$')
if (last or '') ~= A.last then return {'KNOWN', last, id} end
if A.next == '' and id ~= A.id then return {'KNOWN', last, id} end
if A.next == '' then redis.call('HSET', K.sent, A.name, A.last .. ' ') else redis.call('HSET', K.sent, A.name, A.next .. ' ' .. A.id) end
return {'DONE'}
