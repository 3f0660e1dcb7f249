-- PURPOSE  acknowledge what is done, then move up to `want` messages from the queues to `unacked`, in one step
-- KEYS     unacked index record *lists
--          lists: for each priority step, from the most urgent, the list of each queue in serving order
-- ARGV     claim want fair silent width *rest
--          claim:  id of this claim, new each time; want: how many messages, 0 for acknowledging only
--          fair:   1 shares a step between its queues, 0 empties one queue before the next
--          silent: a digit for each queue, 1 where no acknowledgement is expected and nothing is recorded
--          width:  number of queues; rest: their names, then the delivery tags to acknowledge
-- RETURNS  flat list: position of the list (from 0), delivery tag ('' where silent), raw message, ...
-- ERRORS   FENCED
-- TRANSITIONS none
-- COST     O(log n) for each message moved and each tag acknowledged, one LLEN for each list
-- Why LLEN last: under CLIENT TRACKING the server remembers what this connection read and tells it of the next
-- change, once. A pop of our own forgets it again. So a list is read after the last pop from it.
local unacked, index, record = KEYS[1], KEYS[2], KEYS[3]
local claim, want, fair, silent = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4]
local width = tonumber(ARGV[5])

for first = 6 + width, #ARGV, 1000 do
    local last = math.min(first + 999, #ARGV)
    redis.call('HDEL', unacked, unpack(ARGV, first, last))
    redis.call('ZREM', index, unpack(ARGV, first, last))
end
if want == 0 then
    return {}
end

local function holds(position)
    local size = redis.pcall('LLEN', KEYS[4 + position])
    return type(size) == 'number' and size > 0
end

local full, any = {}, false
for position = 0, #KEYS - 4 do
    full[position] = holds(position)
    any = any or full[position]
end
if not any then
    return {}
end
if redis.call('GET', record) == 'retired' then
    return redis.error_reply('FENCED this consumer was retired; claim under a new name')
end

local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local taken, tags, count = {}, {}, 0

-- What a plain worker would restore: an envelope that carries the bytes it could not have read.
local function wrapped(raw, tag, queue)
    return cjson.encode({
        body = raw,
        headers = {['dispatch-undecodable'] = 1},
        properties = {delivery_tag = tag, delivery_info = {exchange = '', routing_key = queue}, priority = 0},
        ['content-type'] = 'application/x-dispatch-undecodable',
        ['content-encoding'] = 'binary',
    })
end

local function described(raw, queue)
    local ok, envelope = pcall(cjson.decode, raw)
    if not ok or type(envelope) ~= 'table' or type(envelope.properties) ~= 'table' then
        return nil
    end
    local tag, info = envelope.properties.delivery_tag, envelope.properties.delivery_info
    local exchange, key = '', queue
    if type(info) == 'table' then
        if type(info.exchange) == 'string' then exchange = info.exchange end
        if type(info.routing_key) == 'string' then key = info.routing_key end
    end
    if type(tag) ~= 'string' or tag == '' then tag = nil end
    return '[' .. raw .. ', ' .. cjson.encode(exchange) .. ', ' .. cjson.encode(key) .. ']', tag
end

local function enter(raw, queue)
    local own = claim .. ':' .. count
    local entry, tag = described(raw, queue)
    entry = entry or '[' .. wrapped(raw, own, queue) .. ', "", ' .. cjson.encode(queue) .. ']'
    -- A tag in use belongs to a copy in flight: this copy gets a tag of its own, or one ack would drop both.
    if not tag or redis.call('HSETNX', unacked, tag, entry) == 0 then
        tag = own
        redis.call('HSET', unacked, tag, entry)
    end
    redis.call('ZADD', index, now, tag)
    tags[#tags + 1] = tag
    return tag
end

local function take(position, queue, quiet, limit)
    local popped = redis.pcall('RPOP', KEYS[4 + position], limit)
    if not popped or popped.err then
        return 0
    end
    for _, raw in ipairs(popped) do
        count = count + 1
        taken[#taken + 1] = position
        taken[#taken + 1] = quiet and '' or enter(raw, queue)
        taken[#taken + 1] = raw
    end
    return #popped
end

local touched = {}
for step = 0, #KEYS - 4, width do
    local open = {}
    for slot = 0, width - 1 do
        if full[step + slot] then open[#open + 1] = slot end
    end
    while #open > 0 and count < want do
        local share = fair and math.max(1, math.floor((want - count) / #open)) or want - count
        local still = {}
        for _, slot in ipairs(open) do
            local limit = math.min(share, want - count)
            if limit > 0 then
                local queue, quiet = ARGV[6 + slot], string.sub(silent, slot + 1, slot + 1) == '1'
                if take(step + slot, queue, quiet, limit) == limit then still[#still + 1] = slot end
                touched[step + slot] = true
            end
        end
        open = still
    end
    if count >= want then break end
end
if count < want then
    for position in pairs(touched) do holds(position) end
end
if #tags > 0 then
    redis.call('SET', record, cjson.encode({claim, tags}), 'EX', 3600)
end
return taken
