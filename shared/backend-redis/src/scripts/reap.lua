-- 2: limit.
local reaped = best_due(up_to('leases', NOW, {}), ARGV[2])
for i, job in ipairs(reaped) do
  become(job, 'queued', { at = NOW, published = NOW })
  reaped[i] = record(job)
end
return { with_damaged(reaped) }
