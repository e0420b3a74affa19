-- 2: id, 3: lines of the beginning that stay, 4: the number behind which to begin, 5: limit.
-- Answers the number before the first line, then the lines: of one of the two lists only.
local log, kept = P .. 'log:' .. ARGV[2], tonumber(ARGV[3])
local after, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
if after < kept then return { after, call('LRANGE', log .. ':first', after, after + limit - 1) } end
local dropped = tonumber(call('GET', log .. ':dropped') or '0')
local first = math.max(after - kept - dropped, 0)
return { kept + dropped + first, call('LRANGE', log .. ':latest', first, first + limit - 1) }
