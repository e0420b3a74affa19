-- 2: id, 3: worker, 4: fence, 5: the phase it ends in, 6: the fault or ''.
local job, refusal = driven(ARGV[2], ARGV[3], ARGV[4])
if not job then return refusal end
local phase = ARGV[5]
become(job, phase, { fault = phase ~= 'cancelled' and ARGV[6] or nil })
return { 'settled', release(job, phase == 'needs_operator') }
