-- 2: candidate.
local term = fields(call('HGETALL', P .. 'term'), 1)
if term.leader == ARGV[2] and term['until'] > NOW then call('HSET', P .. 'term', 'until', NOW) end
