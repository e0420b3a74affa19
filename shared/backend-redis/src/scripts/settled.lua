-- 2: limit.
local jobs = {}
for _, entry in ipairs(call('ZRANGEBYLEX', P .. 'ended', '-', '+', 'LIMIT', 0, ARGV[2])) do
  local job = behind('ended', entry, entry:sub(23))
  if job then jobs[#jobs + 1] = record(job) end
end
return { with_damaged(jobs) }
