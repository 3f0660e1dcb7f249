-- A token bucket at this moment: how many it holds, and in how many ms it holds one (0: now). `interval`: ms per token.
-- A clock that was set back adds nothing, and takes nothing away.
local function bucket(tokens, filled, interval, burst, now)
  tokens = math.min(burst, (tonumber(tokens) or burst) + math.max(0, now - (tonumber(filled) or now)) / interval)
  return tokens, tokens >= 1 and 0 or math.ceil((1 - tokens) * interval - 0.001)
end
