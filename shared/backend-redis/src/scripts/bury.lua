-- 2: worker.
local index = 'worker:' .. ARGV[2]
local ids = call('ZRANGE', P .. index, 0, -1)
for _, id in ipairs(ids) do
  local job = behind(index, id, id)
  if job then change(job, { ['until'] = NOW }) end
end
return { #ids }
