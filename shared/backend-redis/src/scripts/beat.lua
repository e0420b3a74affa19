-- 2: id, 3: worker, 4: fence, 5 and 6: time of the lease, 7: '1' when the host has accepted.
local job, refusal = driven(ARGV[2], ARGV[3], ARGV[4])
if not job then return refusal end
local phase = job.phase
if ARGV[7] == '1' and phase == 'claimed' then phase = 'running' end
change(job, { phase = phase, ['until'] = later(NOW, ARGV[5], ARGV[6]), updated = NOW })
return { 'kept', job.cancel or '0' }
