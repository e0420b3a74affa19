-- 2: id, 3: worker, 4 and 5: time of the lease, then the fields of the record if it must be made again.
local id, worker = ARGV[2], ARGV[3]
local known = load(id)
local job = known or by_our_clock(fields(ARGV, 6))
if TERMINAL[job.phase] then return { 'done', job.phase } end
if LEASED[job.phase] then return { 'leased', job.worker } end
if job.phase == 'needs_operator' then return { 'waiting' } end
if DUE[job.phase] and job.at > NOW then return { 'waiting' } end
if not known then insert(job) end

for _, need in ipairs(needs(job)) do
  local resource = need.resource
  if held(resource) >= need.capacity and not call('ZSCORE', P .. 'held:' .. resource, id) then
    local others = holders(resource)
    local same = job.phase == 'parked' and job.resource == resource
    become(job, 'parked', { resource = resource, at = same and job.at or NOW })
    return { 'parked', resource, others, release(job, resource:sub(1, 3) ~= 'vm:') }
  end
end

for _, need in ipairs(needs(job)) do hold(need.resource, id) end
become(job, 'claimed', {
  worker = worker,
  ['until'] = later(NOW, ARGV[4], ARGV[5]),
  fence = next_fence(math.max(tonumber(job.fence), milliseconds(NOW))),
  attempt = string.format('%d', job.attempt + 1),
  started = job.started or NOW,
})
return { 'claimed', record(job) }
