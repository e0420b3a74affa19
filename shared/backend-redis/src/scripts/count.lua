-- 2: phase.
return { call('ZCARD', P .. 'phase:' .. ARGV[2]) }
