-- PURPOSE  put claimed messages that nobody has seen back to the end they were taken from
-- KEYS     unacked index *lists
--          lists: where each message goes, in the order of the pairs
-- ARGV     *pairs
--          pairs: delivery tag ('' for a message that was not recorded) and raw message
-- RETURNS  how many went back
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n) for each message
local back = 0
for place = 3, #KEYS do
    local tag, raw = ARGV[2 * (place - 2) - 1], ARGV[2 * (place - 2)]
    if tag == '' or redis.call('HDEL', KEYS[1], tag) == 1 then
        if tag ~= '' then redis.call('ZREM', KEYS[2], tag) end
        redis.call('RPUSH', KEYS[place], raw)
        back = back + 1
    end
end
return back
