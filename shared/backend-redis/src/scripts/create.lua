-- 2: id, then the fields of the record.
local known = call('HGETALL', key_of(ARGV[2]))
if #known > 0 then return { 'exists', known } end
insert(by_our_clock(fields(ARGV, 3)))
return { 'created' }
