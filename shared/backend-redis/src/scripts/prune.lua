-- 2: the time before which a job must have ended, 3: limit.
local entries = call('ZRANGEBYLEX', P .. 'recorded', '-', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])
for _, entry in ipairs(entries) do
  local id = entry:sub(23)
  local job = look(id)
  if job then
    shift(places(job), {})
    for subject in about(job) do call('ZREM', P .. 'about:' .. subject, job.order:sub(3)) end
  end
  call('ZREM', P .. 'recorded', entry)
  local log = P .. 'log:' .. id
  call('UNLINK', key_of(id), log .. ':first', log .. ':latest', log .. ':dropped', P .. 'progress:' .. id)
end
return { #entries }
