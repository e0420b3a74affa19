-- 2: limit. Answers resources and how many jobs wait for each, by turns.
local last = ARGV[2] - 1
if last < 0 then return {} end
local waiting = call('ZRANGE', P .. 'awaited', 0, last, 'WITHSCORES')
for i = 2, #waiting, 2 do waiting[i] = -tonumber(waiting[i]) end
return waiting
