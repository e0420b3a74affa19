-- 2: id.
local job = load(ARGV[2])
if job and TERMINAL[job.phase] then
  local entry = job.updated .. ':' .. ARGV[2]
  call('ZREM', P .. 'ended', entry)
  call('ZADD', P .. 'recorded', 0, entry)
end
