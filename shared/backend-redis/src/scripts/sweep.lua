-- 2 and 3: since when, negative, a message is unclaimed that counts as lost, 4: limit.
put_back()
local owed = up_to('sent', later(NOW, ARGV[2], ARGV[3]), up_to('unsent', NOW, {}))
local swept = best_due(owed, ARGV[4])
for i, job in ipairs(swept) do
  if job.phase == 'retry_wait' then become(job, 'queued', { at = NOW, published = NOW })
  else change(job, { published = NOW }) end
  swept[i] = record(job)
end

-- Resources that have waiters and a free place; each call looks at the next WINDOW of them.
local count = call('ZCARD', P .. 'awaited')
local first = tonumber(call('GET', P .. 'swept') or '0')
if first >= count then first = 0 end
local woken = {}
for _, resource in ipairs(call('ZRANGE', P .. 'awaited', first, first + WINDOW - 1)) do
  local order = call('ZRANGE', P .. 'wait:' .. resource, 0, 0)[1]
  local waiter = order and behind('wait:' .. resource, order, id_of_order(order))
  for _, need in ipairs(needs(waiter or {})) do
    if need.resource == resource then
      local jobs = {}
      wake(need, nil, jobs)
      if #jobs > 0 then woken[#woken + 1] = { resource, jobs } end
    end
  end
end
if count > WINDOW then call('SET', P .. 'swept', first + WINDOW) end
return { with_damaged(swept), woken }
