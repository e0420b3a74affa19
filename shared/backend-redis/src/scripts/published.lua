-- 2: id.
local job = load(ARGV[2])
if job and job.phase == 'queued' then change(job, { published = NOW, updated = NOW }) end
