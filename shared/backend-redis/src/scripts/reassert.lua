-- 2: id, 3: worker, 4 and 5: time of the lease, then the fields of the record.
local id, job = ARGV[2], fields(ARGV, 6)
if call('EXISTS', key_of(id)) == 1 then return { 'exists' } end
job.updated, job.at, job.resource, job.worker, job['until'] = NOW, nil, nil, nil, nil
for _, need in ipairs(needs(job)) do
  local others = holders(need.resource)
  if #others >= need.capacity then
    for _, other in ipairs(others) do
      if other ~= id then
        job.phase, job.at, job.published = 'queued', NOW, nil
        insert(job)
        return { 'conflict', other }
      end
    end
  end
end
for _, need in ipairs(needs(job)) do hold(need.resource, id) end
if job.fence ~= '0' then next_fence(job.fence - 1) end
job.phase, job.worker, job['until'] = 'running', ARGV[3], later(NOW, ARGV[4], ARGV[5])
insert(job)
return { 'restored' }
