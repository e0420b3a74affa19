-- 2: id, 3: worker, 4: fence, 5: the token that the host has seen.
local job, refusal = driven(ARGV[2], ARGV[3], ARGV[4])
if not job then return refusal end
change(job, { fence = next_fence(ARGV[5]), updated = NOW })
return { 'fenced', job.fence }
