-- PURPOSE  Gives a ready job to the process that will run it, under a new token; one that lacks a permit asks for it instead.
-- KEYS     record from_state from_name to_state to_name lane marks workers held limits limited_state limited_name permits journal
-- ARGV     now journal id name lane holder nonce pid
-- RETURNS  CLAIMED token now payload spec attempts crashes lost_workers snoozes waited
--          | LEFTOVER state | MISSING | NOT_REGISTERED | EXPIRED | MOVED name lane | LIMITED limit
--          waited: for how many ms it was ready; 0 where the claim is repeated
-- ERRORS   none
-- TRANSITIONS pending>running pending>limited
-- COST     O(log n)
-- INCLUDE  clock journal move unready gate post yield park
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'token', 'token_number', 'name', 'lane', 'wake', 'created_at',
  'expires_at', 'payload', 'spec', 'attempts', 'crashes', 'lost_workers', 'snoozes', 'started_at', 'permits')
local state, token = seen[1], seen[2]
if not state then return {'MISSING'} end

local function claimed(mine, at, waited)
  return {'CLAIMED', mine, at, seen[9] or '', seen[10] or '', seen[11] or '0', seen[12] or '0', seen[13] or '0',
    seen[14] or '0', waited or '0'}
end

if state == 'running' and token and string.match(token, '%.(.*)$') == A.nonce then return claimed(token, seen[15]) end
if state ~= 'pending' then return {'LEFTOVER', state} end
if seen[4] ~= A.name or seen[5] ~= A.lane then return {'MOVED', seen[4], seen[5]} end
local lease = redis.call('ZSCORE', K.workers, A.holder)
if not lease or tonumber(lease) <= now then return {'NOT_REGISTERED'} end
if seen[8] and tonumber(seen[8]) <= now then return {'EXPIRED'} end

local limit, rests = gate(A.name, A.lane, seen[16])
if rests then
  -- A permit from before the pause lets nobody begin: it asks again, and goes when the pause is over.
  yield(A.id, seen[16], now)
  limit, seen[16] = gate(A.name, A.lane, false), false
end
if limit then
  unready(A.id, seen[6])
  K.to_state, K.to_name = K.limited_state, K.limited_name
  move(A.id, 'limited', seen[7])
  if string.sub(limit, 1, 4) == 'job:' then yield(A.id, seen[16], now) end
  park(K.record, A.id, limit, now)
  journal('dispatch.job.limited', A.id, 'pending', 'limited', '')
  return {'LIMITED', limit}
end
local number = (tonumber(seen[3]) or 0) + 1
token = string.format('%.0f.%s', number, A.nonce)
local waited = math.max(0, now - (tonumber(redis.call('ZSCORE', K.lane, A.id) or now)))
unready(A.id, seen[6])
move(A.id, 'running', seen[7], 'token', token, 'token_number', number, 'holder', A.holder, 'pid', A.pid,
  'worker', A.holder, 'started_at', now)
redis.call('HDEL', K.record, 'unknown_since', 'publishes')
redis.call('HSET', K.held, A.id, A.pid .. ' ' .. token)
journal('dispatch.job.started', A.id, 'pending', 'running', token)
return claimed(token, string.format('%.0f', now), string.format('%.0f', waited))
