-- 2: id.
local record = call('HGETALL', key_of(ARGV[2]))
return #record > 0 and { record } or {}
