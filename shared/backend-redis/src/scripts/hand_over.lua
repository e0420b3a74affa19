-- 2: id, 3: worker, 4: fence, 5 and 6: for how long not to be claimed, 7: the fault or '',
-- 8: '1' when the resources stay, 9: '1' when the attempt counts.
local job, refusal = driven(ARGV[2], ARGV[3], ARGV[4])
if not job then return refusal end
local new = { at = later(NOW, ARGV[5], ARGV[6]), published = '' }
if ARGV[7] ~= '' then new.fault = ARGV[7] end
if ARGV[9] ~= '1' then new.attempt = string.format('%d', math.max(job.attempt - 1, 0)) end
become(job, new.fault and 'retry_wait' or 'queued', new)
return { 'settled', ARGV[8] == '1' and {} or release(job, false) }
