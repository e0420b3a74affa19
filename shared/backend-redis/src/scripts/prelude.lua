-- What every operation shares. An operation is this text with its own behind it; KEYS[1] is the prefix
-- of all keys, ARGV[1] the time of the call ('' for the server's own), further arguments as it says.
--
-- A time is text of 21 digits: seconds since 1970 plus 4 * 10^11, then nanoseconds. Texts compare like
-- the times. An order is 'class:created:id': the best waiter has the smallest.

local call = redis.call
local P = KEYS[1]
local DUE = { queued = true, retry_wait = true }
local LEASED = { claimed = true, running = true, cancelling = true }
local TERMINAL = { succeeded = true, failed = true, cancelled = true }
-- Most entries of an index that one call looks at.
local WINDOW = 1000
-- Seconds by which a job that waits is published later than the last time, at most: REPEAT_MAX of
-- `drs_protocol::store`, and the same.
local REPEAT_MAX = 600

local function later(time, seconds, nanoseconds)
  local s = tonumber(time:sub(1, 12)) + tonumber(seconds)
  local n = tonumber(time:sub(13)) + tonumber(nanoseconds)
  if n >= 1e9 then s, n = s + 1, n - 1e9 end
  return string.format('%012.0f%09.0f', s, n)
end

local NOW = ARGV[1]
if NOW == '' then
  local time = call('TIME')
  NOW = later('400000000000000000000', time[1], time[2] * 1000)
end

-- Since 1970, for a time.
local function milliseconds(time)
  return (tonumber(time:sub(1, 12)) - 4e11) * 1000 + tonumber(time:sub(13, 15))
end

local function id_of_order(order) return order:sub(25) end
local function key_of(id) return P .. 'job:' .. id end

-- A record, from the alternating names and values of its fields.
local function fields(flat, first)
  local job = {}
  for i = first, #flat, 2 do job[flat[i]] = flat[i + 1] end
  return job
end

-- The fields that a record must have in its state, beside those that every record has.
local function asked_for(phase)
  if DUE[phase] then return { 'at' } end
  if LEASED[phase] then return { 'worker', 'until' } end
  return phase == 'parked' and { 'resource', 'at' } or {}
end

-- What scripts take apart or reckon with, and how it must look where it is there.
local TIME = '[0-6]' .. string.rep('%d', 20)
local ORDER = '%d:' .. TIME .. ':[^:]+'
local ENTRY = '^' .. TIME .. ':' .. ORDER .. '$'
local FORM = {
  order = '^' .. ORDER .. '$', attempt = '^%d+$', fence = '^%d+$', steps = '^%d+$',
  updated = '^' .. TIME .. '$', at = '^' .. TIME .. '$', ['until'] = '^' .. TIME .. '$',
  published = '^' .. TIME .. '$',
}

local function is_known(phase)
  return DUE[phase] or LEASED[phase] or TERMINAL[phase] or phase == 'parked' or phase == 'needs_operator'
end

-- What makes a record one that no script can deal with, if anything.
local function damage(job)
  for _, field in ipairs({ 'order', 'phase', 'updated', 'attempt', 'fence' }) do
    if not job[field] then return 'it has no field ' .. field end
  end
  for _, field in ipairs(asked_for(job.phase)) do
    if not job[field] then return 'it has no field ' .. field end
  end
  for field, form in pairs(FORM) do
    if job[field] and not job[field]:find(form) then return 'its field ' .. field .. ' is garbled' end
  end
  if not is_known(job.phase) then return job.phase .. ' is no phase' end
end

-- A record, or what is wrong with it; neither when there is none.
local function look(id)
  local flat = call('HGETALL', key_of(id))
  if #flat == 0 then return nil end
  local job = fields(flat, 1)
  local wrong = damage(job)
  if wrong then return nil, wrong end
  return job
end

local function load(id)
  local job, wrong = look(id)
  if wrong then error('DAMAGED record of job ' .. id .. ': ' .. wrong, 0) end
  return job
end

-- A record as an answer carries it.
local function record(job)
  local flat = {}
  for field, value in pairs(job) do flat[#flat + 1] = field; flat[#flat + 1] = value end
  return flat
end

local function records(ids)
  local jobs = {}
  for _, id in ipairs(ids) do
    local flat = call('HGETALL', key_of(id))
    if #flat > 0 then jobs[#jobs + 1] = flat end
  end
  return jobs
end

-- What a job needs, at most six: { resource =, capacity = }.
local function needs(job)
  local list = {}
  for capacity, resource in (job.needs or ''):gmatch('(%d+) ([^\n]+)') do
    list[#list + 1] = { resource = resource, capacity = tonumber(capacity) }
  end
  return list
end

-- From when on it counts how long a message was not claimed: its publication, put off by the time for which
-- the job had waited when the broker confirmed the latest one.
local function unclaimed_since(job)
  local seconds = tonumber(job.updated:sub(1, 12)) - tonumber(job.at:sub(1, 12))
  local nanoseconds = tonumber(job.updated:sub(13)) - tonumber(job.at:sub(13))
  if nanoseconds < 0 then seconds, nanoseconds = seconds - 1, nanoseconds + 1e9 end
  if seconds < 0 then return job.published end
  if seconds >= REPEAT_MAX then seconds, nanoseconds = REPEAT_MAX, 0 end
  return later(job.published, seconds, nanoseconds)
end

-- The indexes that a record stands in because of its state, with its entry in each.
local function places(job)
  local id = id_of_order(job.order)
  local at = { ['phase:' .. job.phase] = job.order:sub(3) }
  if DUE[job.phase] then
    if job.published then at.sent = unclaimed_since(job) .. ':' .. job.order
    else at.unsent = job.at .. ':' .. job.order end
  elseif job.phase == 'parked' then
    at['wait:' .. job.resource] = job.order
  elseif LEASED[job.phase] then
    at.leases = job['until'] .. ':' .. job.order
    at['worker:' .. job.worker] = id
  elseif TERMINAL[job.phase] then
    at.ended = job.updated .. ':' .. id
  end
  return at
end

-- 'awaited' counts the waiters of each resource, negative so that the most awaited comes first.
local function recount(index)
  if index:sub(1, 5) ~= 'wait:' then return end
  local waiters = call('ZCARD', P .. index)
  if waiters == 0 then call('ZREM', P .. 'awaited', index:sub(6))
  else call('ZADD', P .. 'awaited', -waiters, index:sub(6)) end
end

local function shift(before, after)
  for index, entry in pairs(before) do
    if after[index] ~= entry then call('ZREM', P .. index, entry); recount(index) end
  end
  for index, entry in pairs(after) do
    if before[index] ~= entry then call('ZADD', P .. index, 0, entry); recount(index) end
  end
end

-- The VM and the host that a job is about.
local function about(job) return (job.about or ''):gmatch('[^\n]+') end

local function insert(job)
  call('HSET', key_of(id_of_order(job.order)), unpack(record(job)))
  for subject in about(job) do call('ZADD', P .. 'about:' .. subject, 0, job.order:sub(3)) end
  shift({}, places(job))
end

-- Changes fields of a record; '' clears one.
local function change(job, new)
  local before, set, cleared = places(job), {}, {}
  for field, value in pairs(new) do
    if value == '' then
      if job[field] then cleared[#cleared + 1] = field; job[field] = nil end
    elseif job[field] ~= value then
      set[#set + 1] = field; set[#set + 1] = value; job[field] = value
    end
  end
  local key = key_of(id_of_order(job.order))
  if #set > 0 then call('HSET', key, unpack(set)) end
  if #cleared > 0 then call('HDEL', key, unpack(cleared)) end
  shift(before, places(job))
end

-- Brings a job into another state: what belonged to the old one goes.
local function become(job, phase, new)
  new.phase, new.updated = phase, NOW
  for _, field in ipairs({ 'at', 'resource', 'worker', 'until' }) do new[field] = new[field] or '' end
  change(job, new)
end

local function holders(resource) return call('ZRANGE', P .. 'held:' .. resource, 0, -1) end
local function held(resource) return call('ZCARD', P .. 'held:' .. resource) end
local function hold(resource, id) call('ZADD', P .. 'held:' .. resource, 0, id) end

-- What stands for records that this call came upon and that are damaged.
local damaged = {}

-- Sets a damaged record aside, behind those that were looked at longer ago.
local function set_aside(id, wrong)
  damaged[#damaged + 1] = { 'id', id, 'damage', wrong }
  local last = call('ZRANGE', P .. 'damaged', -1, -1, 'WITHSCORES')[2] or '0'
  call('ZADD', P .. 'damaged', last + 1, id)
end

-- The record behind an entry of an index, if that is where it stands. An entry that is in the way is removed:
-- its record is gone (a server that evicts, a hand that deletes), damaged, or has its place elsewhere (a version
-- that reckons otherwise wrote it) and is given that.
local function behind(index, entry, id)
  local job, wrong = look(id)
  local stands = job and places(job) or {}
  if stands[index] == entry then return job end
  if wrong then set_aside(id, wrong) end
  shift({ [index] = entry }, stands)
end

-- Gives records that were set aside and read again (a copy was put back, a newer version looks) their places
-- in the indexes; each call looks at WINDOW of them.
local function put_back()
  for _, id in ipairs(call('ZRANGE', P .. 'damaged', 0, WINDOW - 1)) do
    local job, wrong = look(id)
    if wrong then set_aside(id, wrong) else call('ZREM', P .. 'damaged', id) end
    if job then shift({}, places(job)) end
  end
end

-- Records, and behind them the damaged ones, so that the caller can tell of them.
local function with_damaged(jobs)
  for _, job in ipairs(damaged) do jobs[#jobs + 1] = job end
  damaged = {}
  return jobs
end

-- Makes as many waiters of a resource claimable as there are free places.
local function wake(need, except, woken)
  local free = math.min(need.capacity - held(need.resource), WINDOW)
  if free <= 0 then return end
  local last = #woken + free
  for _, order in ipairs(call('ZRANGE', P .. 'wait:' .. need.resource, 0, free)) do
    local id = id_of_order(order)
    if id ~= except and #woken < last then
      local job = behind('wait:' .. need.resource, order, id)
      if job then
        become(job, 'queued', { at = NOW, published = NOW })
        woken[#woken + 1] = record(job)
      end
    end
  end
end

-- Frees what a job holds, but for the VMs it has when they stay with it, and wakes who waits for the rest.
local function release(job, keep_vms)
  local id, woken = id_of_order(job.order), {}
  for _, need in ipairs(needs(job)) do
    local set = P .. 'held:' .. need.resource
    if not (keep_vms and need.resource:sub(1, 3) == 'vm:' and call('ZSCORE', set, id)) then
      call('ZREM', set, id)
    end
    wake(need, id, woken)
  end
  return with_damaged(woken)
end

-- A token larger than every one before and larger than `above`.
local function next_fence(above)
  local last = tonumber(call('GET', P .. 'fence') or '0')
  local fence = string.format('%.0f', math.max(last, tonumber(above)) + 1)
  call('SET', P .. 'fence', fence)
  return fence
end

-- The job, if this worker drives it under this claim; else nothing and why not.
local function driven(id, worker, fence)
  local job = load(id)
  if not job then return nil, { 'unknown' } end
  if TERMINAL[job.phase] then return nil, { 'done', job.phase } end
  if LEASED[job.phase] and job.worker == worker and job.fence == fence then return job end
  return nil, { 'lost' }
end

-- The entries 'time:order' of an index up to a time, added to a list as 'order:time:index', which sorts by
-- the order; at most WINDOW. What is no such entry is removed.
local function up_to(index, time, list)
  local entries = call('ZRANGEBYLEX', P .. index, '-', '(' .. time .. ';', 'LIMIT', 0, WINDOW)
  for _, entry in ipairs(entries) do
    if entry:find(ENTRY) then list[#list + 1] = entry:sub(23) .. ':' .. entry:sub(1, 22) .. index
    else call('ZREM', P .. index, entry) end
  end
  return list
end

-- The best of the jobs behind such a list that are due, at most `limit`.
local function best_due(list, limit)
  table.sort(list)
  local jobs = {}
  for _, text in ipairs(list) do
    if #jobs == tonumber(limit) then break end
    local order, time, index = text:match('^(%d:%d+:[^:]+):(%d+):(.+)$')
    local job = behind(index, time .. ':' .. order, id_of_order(order))
    if job and (not job.at or job.at <= NOW) then jobs[#jobs + 1] = job end
  end
  return jobs
end

-- A fresh record that may be claimed from its submission on waits from now on: the submitter's clock, which
-- the order of jobs goes by, may be ahead of this server's or behind it.
local function by_our_clock(job)
  if job.at == string.sub(job.order, 3, 23) then job.at, job.updated = NOW, NOW end
  return job
end
