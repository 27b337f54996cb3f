-- What do all nodes share? Resources (agents, issuers, revocations): a name each, a version that grows by one with every change, and a value that is
-- sealed. They are no slot's, but have keys of the same names under {/}. Part of the library that begins in baton2.lua.
--
-- Keys: m hash, t inc ep as of a slot, g the generation: it grows with each change to any of them   s hash, name to resource
--   z zset, names by the generation of their last change   n hash, run of a node to time 6, generation that it confirms 6, what it tells of itself (a NodeReport) with its length 2 before, its name
--   v:<name> list, what the resource was before, the last one first
-- Resource: version 6  generation 6  time 6  removed 1  sealed value

local SHARED = {} -- its Functions; a chunk of Lua has room for 200 names, so the others stay in here
do

local RESOURCES, VERSIONS, SILENT, FORGOTTEN = 65536, 64, 10000, 3600000 -- ms
local FEED_BYTES, REPORT, NAME = 1048576, 512, 63
local FORGET = 2 -- in the place of removed

-- The shared m. Its epoch is another one after each loss, also of all that was here. After another incarnation changes may be gone that a node has seen: what comes from now on is later than all of them.
local function shared(km)
	local inc, m = match(call('INFO', 'replication'), 'master_replid:(%x+)'), call('HMGET', km, 't', 'inc', 'ep', 'g')
	local t = {now = clock(m[1]), inc = inc, ep = number(m[3]), g = number(m[4])}
	if m[2] ~= inc then
		t.anew, t.ep, t.g = true, max(t.ep + 1, floor((t.now - FENCE_EPOCH) / 1000)), max(t.g, (t.now - FENCE_EPOCH) * 64)
	end
	return t
end

local function shared_head(t, ...)
	return head(t.now, 0, 0, t.g, t.ep) .. pack(...)
end

-- The key of what a resource was before.
local function past(km, name)
	return sub(km, 1, -2) .. 'v:' .. name
end

local function version_of(rec)
	return rec and #rec >= 19 and unpk('>I6', rec, 1) or 0
end

-- Every node, the caller's too: it is another of its connections that listens.
local function tell(runs, km)
	for j = 1, #runs do try('PUBLISH', 'baton:wake:' .. runs[j], km) end
end

-- One of change: what is there of it, and whether it may be done. Answer: true = it is done, false = it is to be done, nil = it may not be.
-- What is to be forgotten goes by the time that it is here now: m's never goes back, also when this clock was ahead once.
local function is_done(rec, head, value)
	local want, have = unpk('>I6', head, 1), version_of(rec)
	if byte(head, 7) == FORGET then
		if clock() > unpk('>I6', value, 1) then
			if not rec then return true end
			if want == have + 1 then return false end
		end
	elseif want == have and sub(rec, 19) == sub(head, 7, 7) .. value then
		return true
	elseif want == have + 1 then
		return false
	end
end

-- m s z n · of each: name, the new version 6 and removed 1 (2: forget it), sealed value (of what is to be forgotten: once it is later than this 6). All or none;
-- asked again it changes nothing more. extra = the generation. Answer: OK, QUOTA, or CONFLICT, which one from 0 (2), its present version 6.
local function change(k, a)
	init()
	local t, names, fresh_ones = shared(k[1]), {}, 0
	probe('hhzh', k)
	for j = 1, #a, 3 do names[#names + 1] = a[j] end
	local old = call('HMGET', k[2], tun(names))
	local todo, gone = {}, {}
	for j = 1, #names do
		local rec, head = old[j], a[3 * j - 1]
		local done = is_done(rec, head, a[3 * j])
		if done == nil then return shared_head(t, '>BI2I6', CONFLICT, j - 1, version_of(rec)) end
		if not done then
			call('LLEN', past(k[1], names[j]))
			if byte(head, 7) == FORGET then
				gone[#gone + 1] = names[j]
			else
				todo[#todo + 1] = {names[j], sub(head, 1, 6), sub(head, 7, 7) .. a[3 * j], rec}
				if not rec then fresh_ones = fresh_ones + 1 end
			end
		end
	end
	if fresh_ones > 0 and call('HLEN', k[2]) + fresh_ones > RESOURCES then return shared_head(t, '>BI2I6', QUOTA, 0, 0) end
	for j = 1, #todo do
		local name, version, wanted, rec = tun(todo[j])
		t.g = t.g + 1
		if rec then
			local key = past(k[1], name)
			call('LPUSH', key, rec)
			call('LTRIM', key, 0, VERSIONS - 1)
		end
		call('HSET', k[2], name, version .. pack('>I6I6', t.g, t.now) .. wanted)
		call('ZADD', k[3], t.g, name)
	end
	for j = 1, #gone do
		call('HDEL', k[2], gone[j])
		call('ZREM', k[3], gone[j])
		call('UNLINK', past(k[1], gone[j]))
	end
	call('HSET', k[1], 't', t.now, 'inc', t.inc, 'ep', t.ep, 'g', t.g)
	if #todo > 0 then tell(call('HKEYS', k[4]), k[1]) end
	return shared_head(t, '>BI2I6', OK, 0, 0)
end

-- What a node tells of itself, and its name; nothing of what is no node's record.
local function node_of(rec)
	local size = #rec > 14 and unpk('>I2', rec, 13) or REPORT + 1
	local name = sub(rec, 15 + size)
	if size > REPORT or name == '' or #name > NAME or find(name, '[^%w._-]') then return end
	return sub(rec, 15, 14 + size), name
end

-- Who is there, by name. A run that ended is forgotten once another one of its name is there; one that is silent, after an hour.
local function nodes_of(kn, now, me, name)
	local runs, out, gone = call('HKEYS', kn), {}, {}
	local all = #runs > 0 and call('HMGET', kn, tun(runs)) or {}
	for j = 1, #runs do
		local report, its = node_of(all[j])
		local silent = its and max(now - unpk('>I6', all[j], 1), 0) or FORGOTTEN
		if silent >= FORGOTTEN or (silent >= SILENT and its == name) then
			gone[#gone + 1] = runs[j]
		elseif runs[j] ~= me then
			out[#out + 1] = pack('>I4c6I2B', silent, sub(all[j], 7, 12), #report, #its) .. report .. its
		end
	end
	return out, gone
end

-- m s z n · run, name of the node, after which generation, the one that it confirms ('' = it leaves), how many, what it tells of itself. extra = the generation. Answer: an
-- array: the head, 1 when there are more, the generation to go on after 6; the other nodes (silent ms 4, confirmed 6, lengths of what it tells 2 and of its
-- name 1, both); then name and resource of each.
local function feed(k, a)
	init()
	local t, on, bytes, more = shared(k[1]), tonumber(a[3]), 0, 0
	probe('hhzh', k)
	local found = call('ZRANGEBYSCORE', k[3], '(' .. a[3], '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(a[5]) + 1)
	local names, out = {}, {'', ''}
	for j = 1, #found, 2 do names[#names + 1] = found[j] end
	local recs = #names > 0 and call('HMGET', k[2], tun(names)) or {}
	for j = 1, #names do
		local size = recs[j] and #recs[j] or 0
		if j > tonumber(a[5]) or (j > 1 and bytes + size > FEED_BYTES) then more = 1 break end
		if size >= 19 then out[#out + 1], out[#out + 2] = names[j], recs[j] end
		bytes, on = bytes + size, tonumber(found[2 * j])
	end
	local nodes, gone = nodes_of(k[4], t.now, a[1], a[2])
	out[1], out[2] = shared_head(t, '>BI6', more, on), concat(nodes)
	if t.anew then call('HSET', k[1], 't', t.now, 'inc', t.inc, 'ep', t.ep, 'g', t.g) end
	if #gone > 0 then call('HDEL', k[4], tun(gone)) end
	if a[4] == '' then
		call('HDEL', k[4], a[1])
	else
		local report = sub(a[6] or '', 1, REPORT)
		call('HSET', k[4], a[1], pack('>I6I6I2', t.now, tonumber(a[4]), #report) .. report .. a[2])
	end
	return out
end

-- m s · name, before which version (0 = all), how many. extra = the generation. Answer: an array as of feed, without nodes, the newest version
-- first; in the place of the generation to go on after stands the present version.
local function versions(k, a)
	init()
	local t, rec, before, left = shared(k[1]), call('HGET', k[2], a[1]), tonumber(a[2]), tonumber(a[3])
	local old, out = call('LRANGE', past(k[1], a[1]), 0, VERSIONS - 1), {'', ''}
	local bytes, more = 0, 0
	for j = 0, #old do
		local one = j == 0 and rec or old[j]
		if one and #one >= 19 and (before == 0 or version_of(one) < before) then
			if left == 0 or (bytes > 0 and bytes + #one > FEED_BYTES) then more = 1 break end
			out[#out + 1], out[#out + 2] = a[1], one
			left, bytes = left - 1, bytes + #one
		end
	end
	out[1] = shared_head(t, '>BI6', more, version_of(rec))
	return out
end

SHARED.change, SHARED.feed, SHARED.versions = change, feed, versions
end
