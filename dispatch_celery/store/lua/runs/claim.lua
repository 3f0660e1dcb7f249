-- PURPOSE  Gives a ready run, with its journal, to the process that will replay it, under a new token.
-- KEYS     record from_state from_name to_state to_name lane marks workers held limits promises undos consumed journal
-- ARGV     now journal id name lane holder nonce pid size
--          size: bytes of the journal after which the rest is to be asked for.
-- RETURNS  CLAIMED token now payload spec revision generation crashes lost_workers cancel created_at undoing
--          entries undos cursor (where the journal goes on; 0: it is whole) consumed (events of earlier generations)
--          | LEFTOVER state | MISSING | NOT_REGISTERED | MOVED name lane | PAUSED (its queue is)
-- ERRORS   none
-- TRANSITIONS pending>running
-- COST     O(n) in the promises and undos of the run
-- INCLUDE  clock journal move unready part
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'token', 'token_number', 'name', 'lane', 'wake', 'created_at',
  'payload', 'spec', 'revision', 'generation', 'crashes', 'lost_workers', 'cancel', 'started_at', 'first_at', 'undoing')
local state, token = seen[1], seen[2]
if not state then return {'MISSING'} end

local function claimed(mine, at)
  local cursor, entries = part('0', A.size)
  local consumed = seen[11] and redis.call('ZRANGE', K.consumed, 0, -1) or {}
  return {'CLAIMED', mine, at, seen[8] or '', seen[9] or '', seen[10] or '0', seen[11] or '0', seen[12] or '0',
    seen[13] or '0', seen[14] or '', seen[7], seen[17] or '', entries, redis.call('HGETALL', K.undos),
    cursor, consumed}
end

if state == 'running' and token and string.match(token, '%.(.*)$') == A.nonce then return claimed(token, seen[15]) end
if state ~= 'pending' then return {'LEFTOVER', state} end
if seen[4] ~= A.name or seen[5] ~= A.lane then return {'MOVED', seen[4], seen[5]} end
local lease = redis.call('ZSCORE', K.workers, A.holder)
if not lease or tonumber(lease) <= now then return {'NOT_REGISTERED'} end

local on = redis.call('HGET', K.limits, 'queue:' .. string.match(A.lane, '^(.*):%d+$'))
if on and string.find(on, 'paused', 1, true) then return {'PAUSED'} end

local number = (tonumber(seen[3]) or 0) + 1
token = string.format('%.0f.%s', number, A.nonce)
unready(A.id, seen[6])
move(A.id, 'running', seen[7], 'token', token, 'token_number', number, 'holder', A.holder, 'pid', A.pid,
  'worker', A.holder, 'started_at', now)
redis.call('HSETNX', K.record, 'first_at', now)
redis.call('HDEL', K.record, 'unknown_since', 'publishes', 'nudged')
redis.call('HSET', K.held, A.id, A.pid .. ' ' .. token)
journal(seen[16] and 'dispatch.run.resumed' or 'dispatch.run.started', A.id, 'pending', 'running', token)
return claimed(token, string.format('%.0f', now))
