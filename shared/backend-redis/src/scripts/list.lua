-- 2: behind what to go on: '' for the newest, 'id:' and a job's id, or what the call before said;
-- 3: limit, 4: whom the jobs are about, or '', then the phases.
-- Answers the records and behind what to go on when they are too few, '' at the end.
local max = ARGV[2] == '' and '+' or '(' .. ARGV[2]
if ARGV[2]:sub(1, 3) == 'id:' then
  local order = call('HGET', key_of(ARGV[2]:sub(4)), 'order')
  if not order then return { {}, '' } end
  max = '(' .. order:sub(3)
end
local limit, subject, phases = tonumber(ARGV[3]), ARGV[4], {}
for i = 5, #ARGV do phases[ARGV[i]] = true end

local function newest(index, count)
  return call('ZREVRANGEBYLEX', P .. index, max, '-', 'LIMIT', 0, count)
end

if subject == '' then
  local entries, ids = {}, {}
  for phase in pairs(phases) do
    for _, entry in ipairs(newest('phase:' .. phase, limit)) do entries[#entries + 1] = entry end
  end
  table.sort(entries, function(a, b) return a > b end)
  for i = 1, math.min(limit, #entries) do ids[i] = entries[i]:sub(23) end
  return { records(ids), limit > 0 and entries[limit] or '' }
end

local entries, ids, last = newest('about:' .. subject, WINDOW), {}, ''
for _, entry in ipairs(entries) do
  if #ids == limit then return { records(ids), last } end
  local id = entry:sub(23)
  if phases[call('HGET', key_of(id), 'phase')] then ids[#ids + 1] = id end
  last = entry
end
return { records(ids), #entries == WINDOW and last or '' }
