-- PURPOSE  keep messages in flight from being taken for abandoned
-- KEYS     index
-- ARGV     *tags
-- RETURNS  nothing
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n) for each tag; the caller bounds their number
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
for _, tag in ipairs(ARGV) do
    redis.call('ZADD', KEYS[1], 'XX', now, tag)
end
