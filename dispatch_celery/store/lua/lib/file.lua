-- Files a dead letter under its fingerprint and its name, each in the order of death; its group is known by its latest.
local function file_letter(id, name, print, died)
  local at = string.format(' %013.0f ', died) .. id
  redis.call('ZADD', K.letters, 0, 'f ' .. print .. ' ' .. name .. at, 0, 'n ' .. name .. at)
  redis.call('ZADD', K.groups, 'GT', died, print)
end
