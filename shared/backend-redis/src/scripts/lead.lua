-- 2: candidate, 3 and 4: time of the lease.
local term = fields(call('HGETALL', P .. 'term'), 1)
local number = '1'
if term.number then
  local leads = term['until'] > NOW
  if leads and term.leader ~= ARGV[2] then
    return { 'following', term.leader, term.number, term['until'] }
  end
  number = leads and term.number or string.format('%.0f', term.number + 1)
end
local ends = later(NOW, ARGV[3], ARGV[4])
call('HSET', P .. 'term', 'leader', ARGV[2], 'number', number, 'until', ends)
return { 'leading', ARGV[2], number, ends }
