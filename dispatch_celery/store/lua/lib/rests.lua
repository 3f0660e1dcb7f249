-- Whether a job of this name and lane may not begin, whatever permit it has: its name or its queue is paused.
local function rests(name, lane)
  local on = redis.call('HMGET', K.limits, 'job:' .. name, 'queue:' .. string.match(lane, '^(.*):%d+$'))
  return string.find(on[1] or '', 'paused', 1, true) or string.find(on[2] or '', 'paused', 1, true)
end
