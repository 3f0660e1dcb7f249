-- The limit that a job of this name and lane has to pass next, one it has no permit of; nil when it may go. Its own first,
-- its queue's after it: taken in one order, so that no two jobs wait for each other's permits. Where it may go, also
-- whether it may not begin for all its permits: its name or its queue is paused.
local function gate(name, lane, permits)
  local limits = {'job:' .. name, 'queue:' .. string.match(lane, '^(.*):%d+$')}
  local on = redis.call('HMGET', K.limits, unpack(limits))
  for n, limit in ipairs(limits) do
    if on[n] and not (permits and string.find(permits, '\n' .. limit .. '=', 1, true)) then return limit end
  end
  return nil, string.find(on[1] or '', 'paused', 1, true) or string.find(on[2] or '', 'paused', 1, true)
end
