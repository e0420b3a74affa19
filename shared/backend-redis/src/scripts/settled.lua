-- 2: limit.
local ids = call('ZRANGEBYLEX', P .. 'ended', '-', '+', 'LIMIT', 0, ARGV[2])
for i, entry in ipairs(ids) do ids[i] = entry:sub(23) end
return { records(ids) }
