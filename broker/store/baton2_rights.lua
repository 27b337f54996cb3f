-- What must the user of the connection be allowed? Every command that this library, or the broker beside it, sends. It is asked before
-- the first of them, because one that is refused in the middle of a Function leaves half a change. Part of the library that begins in
-- baton2.lua.

local ON_KEYS = {'exists', 'get', 'hdel', 'hexists', 'hget', 'hkeys', 'hlen', 'hmget', 'hscan', 'hset', 'lindex', 'llen', 'lpos', 'lpush', 'lrange', 'lrem', 'ltrim',
	'mget', 'rpush', 'unlink', 'zadd', 'zcard', 'zcount', 'zmscore', 'zrange', 'zrangebyscore', 'zrem', 'zrevrange', 'zrevrangebyscore', 'zrevrank',
	'zscan', 'zscore'}
local OTHERS = {'config get *', 'copy KEY KEY', 'exec', 'fcall f 0', 'function list', 'function load x', 'info', 'lmpop 1 KEY left', 'mset KEY x', 'multi',
	'ping', 'publish CHANNEL x', 'pubsub numsub x', 'scan 0', 'set KEY x', 'subscribe CHANNEL', 'time', 'wait 1 1'}
local IN_CLUSTER = {'asking', 'cluster slots'}
local NAMES = {'m', 's', 'i', 'z', 'q0', 'q1', 'q2', 'n', 'l', 'f', 'd', 'x', 'h', 'b:1', 'e:1', 'v:1'}

-- The rule that allows such a command: +hget, +config|get.
local function rule(words)
	if words[1] == 'config' or words[1] == 'function' or words[1] == 'pubsub' or words[1] == 'cluster' then return '+' .. words[1] .. '|' .. words[2] end
	return '+' .. words[1]
end

-- No keys · the caller's channel, 'cluster' on a Redis Cluster. Answer: what is missing, with spaces between. It writes nothing, but is
-- registered as if it did, so that a server that takes no writes now (too few replicas, a full disk) says so.
local function rights(_, a)
	init()
	local missing, known = {}, nil
	for j = 1, #ON_KEYS do
		if redis.acl_check_cmd(ON_KEYS[j], '{tenant/route}:m') then known = ON_KEYS[j] else missing[#missing + 1] = '+' .. ON_KEYS[j] end
	end
	if not known then missing = {'~{*/*}:*'} end -- or all of them, which is the same to whoever mends it
	for j = 1, known and #NAMES or 0 do
		if not redis.acl_check_cmd(known, '{tenant/route}:' .. NAMES[j]) then missing[#missing + 1] = '~{*/*}:' .. NAMES[j] end
	end
	local others = {tun(OTHERS)}
	for j = 1, a[2] == 'cluster' and #IN_CLUSTER or 0 do others[#others + 1] = IN_CLUSTER[j] end
	for j = 1, #others do
		local words, named, skip = {}, '', false
		for word in gmatch(others[j], '%S+') do
			if word == 'KEY' then word, skip = '{tenant/route}:m', not known end
			if word == 'CHANNEL' then word, named = a[1], ' &baton:wake:*' end
			words[#words + 1] = word
		end
		if not skip and not redis.acl_check_cmd(tun(words)) then missing[#missing + 1] = rule(words) .. named end
	end
	return concat(missing, ' ')
end
