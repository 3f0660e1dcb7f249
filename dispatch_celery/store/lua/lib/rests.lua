-- Whether a job of this name and lane may not begin, whatever permit it has: its name or its queue is paused.
local function rests(name, lane)
  local on = redis.call('HMGET', K.limits, 'job:' .. name, 'queue:' .. string.match(lane, '^(.*):%d+$'))
  return on[1] == 'paused' or on[2] == 'paused'
end
