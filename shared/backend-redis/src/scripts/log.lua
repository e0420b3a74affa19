-- 2: id, 3: lines of the beginning that stay, 4: latest lines that stay, 5: the line.
local log = P .. 'log:' .. ARGV[2]
if call('LLEN', log .. ':first') < tonumber(ARGV[3]) then
  call('RPUSH', log .. ':first', ARGV[5])
elseif call('RPUSH', log .. ':latest', ARGV[5]) > tonumber(ARGV[4]) then
  call('LPOP', log .. ':latest')
  call('INCR', log .. ':dropped')
end
