-- Answers the commands that this user may not run, where the server can tell (7.0 and newer).
if not redis.acl_check_cmd then return {} end
local P, missing = KEYS[1], {}
local used = {
  { 'exists', 'k' }, { 'get', 'k' }, { 'hdel', 'k', 'f' }, { 'hget', 'k', 'f' }, { 'hgetall', 'k' },
  { 'hmget', 'k', 'f' }, { 'hset', 'k', 'f', 'v' }, { 'incr', 'k' }, { 'llen', 'k' }, { 'lpop', 'k' },
  { 'lrange', 'k', '0', '1' }, { 'rpush', 'k', 'v' }, { 'set', 'k', 'v' }, { 'unlink', 'k' },
  { 'zadd', 'k', '0', 'm' }, { 'zcard', 'k' }, { 'zrange', 'k', '0', '1' },
  { 'zrangebylex', 'k', '-', '+' }, { 'zrank', 'k', 'm' }, { 'zrem', 'k', 'm' },
  { 'zrevrangebylex', 'k', '+', '-' }, { 'zscore', 'k', 'm' },
}
for _, command in ipairs(used) do
  command[2] = P .. command[2]
  if not redis.acl_check_cmd(unpack(command)) then missing[#missing + 1] = command[1] end
end
if not redis.acl_check_cmd('time') then missing[#missing + 1] = 'time' end
return missing
