-- 2: id, 3: worker, 4: fence, 5: the step's name, 6: its mark, 7: its record.
-- A step is a field: its place in the log, its mark, its record.
local job, refusal = driven(ARGV[2], ARGV[3], ARGV[4])
if not job then return refusal end
local field = 'step:' .. ARGV[5]
local place, steps = nil, tonumber(job.steps or '0')
if job[field] then place = job[field]:match('^%d+')
else steps = steps + 1; place = string.format('%d', steps) end
change(job, {
  [field] = place .. ' ' .. ARGV[6] .. ' ' .. ARGV[7],
  steps = string.format('%d', steps),
  updated = NOW,
})
return { 'kept', job.cancel or '0' }
