-- A removal of nothing: after it a full server accepts what follows (it looks at memory before the first write only).
local function relieve(key) redis.call('ZREM', key, '') end
