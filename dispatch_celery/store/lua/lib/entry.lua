-- One promise as the journal keeps it: status, place among the resolved, time, then what only Python reads.
local function entry(status, seq, at, rest) return string.format('%s %.0f %.0f %s', status, seq, at, rest) end
