-- 2: id.
local job = load(ARGV[2])
if not job then return { 'unknown' } end
if TERMINAL[job.phase] then return { 'done', job.phase } end
if LEASED[job.phase] then
  change(job, { phase = 'cancelling', cancel = '1', updated = NOW })
  return { 'asked' }
end
local untouched = true
for field, value in pairs(job) do
  if field:sub(1, 5) == 'step:' and value:match('^%d+ (%S+)') ~= 'undone' then untouched = false end
end
if untouched and job.phase ~= 'needs_operator' then
  become(job, 'cancelled', { cancel = '1' })
  return { 'cancelled', release(job, false) }
end
-- How long it had waited says nothing about how soon the message of the cancel is to be repeated.
local at = job.phase == 'queued' and job.at > NOW and job.at or NOW
become(job, 'queued', { at = at, cancel = '1', published = NOW })
return { 'asked', record(job) }
