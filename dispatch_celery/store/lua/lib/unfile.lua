-- Takes a dead letter out of its files; its group is then known by the latest that is left, and goes with its last. A
-- letter of a release that filed none has no fingerprint.
local function unfile_letter(id, name, print, died)
  if not print then return end
  local at = string.format(' %013.0f ', died) .. id
  redis.call('ZREM', K.letters, 'f ' .. print .. ' ' .. name .. at, 'n ' .. name .. at)
  local known = tonumber(redis.call('ZSCORE', K.groups, print) or 0)
  if known > tonumber(died) then return end
  local group, latest = 'f ' .. print .. ' ', nil
  local from = '[' .. group
  repeat
    local one = redis.call('ZRANGEBYLEX', K.letters, from, '(f ' .. print .. '!', 'LIMIT', 0, 1)[1]
    if one then
      local named = group .. string.match(one, '^f %S+ (%S*) ')
      local last = redis.call('ZREVRANGEBYLEX', K.letters, '(' .. named .. '!', '[' .. named .. ' ', 'LIMIT', 0, 1)[1]
      local when = tonumber(string.match(last, ' (%d+) %S+$'))
      if not latest or when > latest then latest = when end
      from = '[' .. named .. '!'
    end
  until not one
  if latest then redis.call('ZADD', K.groups, latest, print) else redis.call('ZREM', K.groups, print) end
end
