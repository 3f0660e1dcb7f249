-- PURPOSE  Asks the holder of a running job to cancel it; from now on the job cannot become pending again.
-- KEYS     record held worker *parent
-- ARGV     id holder reason by
--          holder: the incarnation the caller saw; held and worker belong to it.
--          by: token and revision of the run in whose name it is asked, or empty.
-- RETURNS  ASKED | STATE state holder | UNDOING outcome (a run that is being undone is not disturbed) | FENCED state (of the run it belongs to)
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  leave
local refusal = leave()
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'state', 'holder', 'token', 'undoing')
if seen[1] ~= 'running' or seen[2] ~= A.holder then return {'STATE', seen[1] or 'missing', seen[2] or ''} end
if seen[4] then return {'UNDOING', seen[4]} end
redis.call('HDEL', K.held, '')  -- a removal first: a full server then accepts the rest
redis.call('HSETNX', K.record, 'cancel', A.reason)
local holding = redis.call('HGET', K.held, A.id)
if holding and not string.find(holding, ' cancel', 1, true) then redis.call('HSET', K.held, A.id, holding .. ' cancel') end
redis.call('PUBLISH', K.worker, 'cancel ' .. A.id .. ' ' .. seen[3])
return {'ASKED'}
