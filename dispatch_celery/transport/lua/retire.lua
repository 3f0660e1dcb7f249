-- PURPOSE  end a consumer whose connection broke under a claim, so that a late claim of it takes nothing
-- KEYS     record
-- ARGV     none
-- RETURNS  its last claim as JSON, [claim id, [tag, ...]]; 'retired' if it was ended before; nil if it never took
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
local last = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], 'retired', 'EX', 3600)
return last
