-- A part of a run's journal of about `size` bytes: where to go on (0 at its end), then identities and entries in turn.
local function part(cursor, size)
  local found, bytes = {}, 0
  repeat
    local reply = redis.call('HSCAN', K.promises, cursor, 'COUNT', 50)
    cursor = reply[1]
    for _, word in ipairs(reply[2]) do
      found[#found + 1] = word
      bytes = bytes + #word
    end
  until cursor == '0' or bytes >= tonumber(size)
  return cursor, found
end
