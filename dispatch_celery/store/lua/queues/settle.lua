-- PURPOSE  Tells a limit what jobs ask for and give back, in their order; hands out the permits that are there.
-- KEYS     limit weights waiting turns resting holders known buckets grants
-- ARGV     now limit batch by *words
--          batch: permits handed out at most. by: what the keys were told by. words: verb (ask, return), id, number of
--          the request, and key in turn.
-- RETURNS  SETTLED given after (ms until another may be had; -1: not before something changes) waiting lifted resumed
--          (a pause has ended, and not all know) rekey (where to go on with new keys; empty: all have theirs)
--          | GONE | STALE (keys are told by something else now)
-- ERRORS   none
-- TRANSITIONS none
-- COST     O((words + batch) log n)
-- INCLUDE  clock relieve bucket rule turn drop seek own give rouse review sweep grant
local now = clock(A.now)
if redis.call('EXISTS', K.limit) == 0 then return {'GONE'} end
relieve(K.waiting)
local by = redis.call('HGET', K.limit, 'by') or ''
for at = REST, #ARGV, 4 do
  local verb, id, ask, key = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if verb == 'ask' then
    if by ~= A.by then return {'STALE'} end
    seek(id, ask, key)
  else
    local left = drop(id, ask)
    if left then turn(left) end
  end
end
local given, after = grant(tonumber(A.batch), now)
local seen = redis.call('HMGET', K.limit, 'lifted', 'resumed', 'rekey')
return {'SETTLED', tostring(given), string.format('%.0f', after), tostring(redis.call('ZCARD', K.waiting)), seen[1] or '',
  seen[2] or '', seen[3] or ''}
