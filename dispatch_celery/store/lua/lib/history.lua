-- Appends one attempt to the record's history, a line of JSON each; the oldest go when it is larger than 32 KiB.
local function remember(rest, now)
  if rest == '' then return end
  local seen = redis.call('HMGET', K.record, 'history', 'started_at', 'worker')
  local line = string.format('{"started_at":%s,"ended_at":%.0f,"worker":"%s",%s', seen[2] or 'null', now, seen[3] or '', rest)
  local all = seen[1] and (seen[1] .. '\n' .. line) or line
  while #all > 32768 do
    local cut = string.find(all, '\n', 1, true)
    if not cut then break end
    all = string.sub(all, cut + 1)
  end
  redis.call('HSET', K.record, 'history', all)
end
