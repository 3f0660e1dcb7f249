-- The record will be deleted after `retain` ms; its idempotency key lives as long, and at least `retain_key` ms in all. The
-- key of a job of which there may be one is free at once.
local function retain_record(id, now, created, retain, retain_key)
  redis.call('ZADD', K.expiry, now + retain, id)
  if A.keyed == '1' and string.match(redis.call('GET', K.idempotency) or '', '^%S+') == id then
    redis.call('PEXPIREAT', K.idempotency, string.format('%.0f', math.max(now + retain, created + retain_key)))
  elseif A.keyed == 'unique' and string.match(redis.call('GET', K.idempotency) or '', '^%S+') == id then
    redis.call('DEL', K.idempotency)
  end
end
