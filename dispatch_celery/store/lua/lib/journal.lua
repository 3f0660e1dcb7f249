-- One entry per transition, in the script that makes it, so the stream is a total order.
local function journal(event, id, from, to, token)
  if A.journal == '0' then return end
  redis.call('XADD', K.journal, 'MAXLEN', '~', A.journal, '*',
    'event', event, 'id', id, 'from', from, 'to', to, 'token', token)
end
