-- 2: id.
local job = load(ARGV[2])
if job and not LEASED[job.phase] and not TERMINAL[job.phase] then change(job, { published = NOW }) end
