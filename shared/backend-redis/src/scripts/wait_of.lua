-- 2: id.
local waits = call('HMGET', key_of(ARGV[2]), 'phase', 'resource', 'order')
if waits[1] ~= 'parked' then return {} end
local index = P .. 'wait:' .. waits[2]
return { waits[2], holders(waits[2]), call('ZRANK', index, waits[3]) + 1, call('ZCARD', index) }
