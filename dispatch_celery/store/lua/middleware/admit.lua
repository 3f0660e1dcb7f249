-- PURPOSE  Asks a circuit breaker whether an execution may begin.
-- KEYS     breaker probes
-- ARGV     now owner max_probes hold
--          owner: who asks, the same when asked again; hold: ms after which a probe nobody has heard of is given up.
-- RETURNS  CLOSED now | PROBE now | OPEN ms
--          now: to be told again with how it came out; ms: until it is worth asking again
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock
local now = clock(A.now)
local reopens = tonumber(redis.call('HGET', K.breaker, 'until') or 0)
local began = string.format('%.0f', now)
if reopens == 0 then return {'CLOSED', began} end
if now < reopens then return {'OPEN', string.format('%.0f', reopens - now)} end
if redis.call('ZSCORE', K.probes, A.owner) then return {'PROBE', began} end
redis.call('ZREMRANGEBYSCORE', K.probes, '-inf', now)
if redis.call('ZCARD', K.probes) >= tonumber(A.max_probes) then
  local first = tonumber(redis.call('ZRANGE', K.probes, 0, 0, 'WITHSCORES')[2])
  return {'OPEN', string.format('%.0f', math.max(1, first - now))}
end
redis.call('ZADD', K.probes, now + tonumber(A.hold), A.owner)
redis.call('PEXPIRE', K.probes, tonumber(A.hold) * 2)
return {'PROBE', began}
