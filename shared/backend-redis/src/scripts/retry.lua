-- 2: id.
local job = load(ARGV[2])
if not job then return { 'unknown' } end
if job.phase ~= 'needs_operator' then return { 'not_waiting', job.phase } end
become(job, 'queued', { at = NOW, attempt = '0', published = NOW })
return { 'woken', record(job) }
