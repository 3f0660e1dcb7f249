-- PURPOSE  Tells a circuit breaker how an execution came out: opens it, opens it again, or closes it.
-- KEYS     breaker probes failures
-- ARGV     now owner began ok threshold window cooldown keep
--          began: what admit has said, or empty; ok: 1 where it succeeded, empty where that says nothing; threshold:
--          failures in a row, within window ms, that open it; cooldown: ms it stays open; keep: ms after which a breaker
--          nobody uses is forgotten.
-- RETURNS  CLOSED | OPENED ms | OPEN ms | NOTHING
--          OPENED: by this report; ms: until a probe may be made
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock
local now = clock(A.now)
local seen = redis.call('HMGET', K.breaker, 'until', 'by', 'closed_at')
local reopens = tonumber(seen[1] or 0)
if seen[2] == A.owner and reopens > now then return {'OPENED', string.format('%.0f', reopens - now)} end
local probe = redis.call('ZREM', K.probes, A.owner) == 1
if A.ok == '' then return {'NOTHING'} end
-- Who began before it was open, or as a probe that was given up, says nothing of now. Where the clock was set back behind
-- that, nobody knows who began when.
local closed = tonumber(seen[3] or 0)
if not probe and A.began ~= '' and closed <= now and tonumber(A.began) < closed then return {'NOTHING'} end
if A.ok == '1' then
  if reopens > 0 and not probe then return {'OPEN', string.format('%.0f', math.max(0, reopens - now))} end
  redis.call('DEL', K.failures, K.probes)
  if probe then
    redis.call('HDEL', K.breaker, 'until', 'by', 'opened_at')
    redis.call('HSET', K.breaker, 'closed_at', now)
    redis.call('PEXPIRE', K.breaker, A.keep)
  end
  return {'CLOSED'}
end
if reopens > 0 and not probe then return {'OPEN', string.format('%.0f', math.max(0, reopens - now))} end
redis.call('ZREMRANGEBYSCORE', K.failures, '-inf', now - tonumber(A.window))
redis.call('ZADD', K.failures, now, A.owner)
redis.call('PEXPIRE', K.failures, A.window)
if not probe and redis.call('ZCARD', K.failures) < tonumber(A.threshold) then return {'CLOSED'} end
redis.call('DEL', K.failures, K.probes)
redis.call('HSET', K.breaker, 'until', now + tonumber(A.cooldown), 'by', A.owner, 'opened_at', now)
redis.call('PEXPIRE', K.breaker, A.keep)
return {'OPENED', A.cooldown}
