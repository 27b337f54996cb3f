-- What may operators do with a slot? Look at it, pause it, close it; list what is dead-lettered, replay it, let go of it. Part of the
-- library that begins in baton2.lua.

local LOOK_OLDEST = 16 -- ids of each queue that are looked at for the oldest

-- When the oldest that waits in these queues was accepted; 0 = nothing waits.
local function oldest(k, first)
	local at = 0
	for j = first, first + 2 do
		local ids = call('LRANGE', k[j], 0, LOOK_OLDEST - 1)
		local recs = #ids > 0 and call('HMGET', k[2], tun(ids)) or {}
		for n = 1, #ids do
			local t = whole(recs[n]) and byte(recs[n], 67) == QUEUED and unpk('>I6', recs[n], 55)
			if t and (at == 0 or t < at) then at = t end
		end
	end
	return at
end

-- m s q0 q1 q2 z h d x · bits (1 paused: nothing is leased, 2 closed: nothing new is accepted; '' = as it is). Answer: 'K' header with
-- extra = bits, then oldest 6, queued 6, delayed 6, held 6, dead 6, quarantined 6.
local function route(k, a)
	init()
	local km = k[1]
	local m = call('HMGET', km, 'inc', 't', 'w', 'wb', 'paused', 'closed', 'ep', 'arm')
	if not m[1] then return 'O' end
	probe('hhlllzzzz', k)
	local now = clock(m[2])
	local bits = (m[5] and 1 or 0) + (m[6] and 2 or 0)
	if a[1] ~= '' then
		local was = bits
		bits = tonumber(a[1])
		if bits % 2 == 1 then call('HSET', km, 'paused', '1') else call('HDEL', km, 'paused') end
		if bits >= 2 then call('HSET', km, 'closed', '1') else call('HDEL', km, 'closed') end
		if was % 2 == 1 and bits % 2 == 0 then wake(km, m[8], '') end
	end
	local queued = call('LLEN', k[3]) + call('LLEN', k[4]) + call('LLEN', k[5])
	return head(now, m[3], m[4], bits, m[7]) .. pack('>I6I6I6I6I6I6', oldest(k, 3), queued,
		call('ZCARD', k[6]), call('ZCARD', k[7]), call('ZCARD', k[8]), call('ZCARD', k[9]))
end

-- m s d · id to go on after (zeros: from the newest), when it was dead-lettered, max, bytes of blobs that may follow. extra = 1 when there
-- are more.
local function dead(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb')
	local from, want, budget, out, n, over = 0, tonumber(a[3]), tonumber(a[4]), {}, 0, false
	if find(a[1], '[^%z]') then
		from = call('ZREVRANK', k[3], a[1])
		from = from and from + 1 or call('ZCOUNT', k[3], a[2], '+inf')
	end
	local ids = call('ZREVRANGE', k[3], from, from + want - 1)
	local recs = #ids > 0 and call('HMGET', k[2], tun(ids)) or {}
	for j = 1, #ids do
		if whole(recs[j]) then
			budget = budget - size_of(recs[j]) - unpk('>I4', recs[j], 87)
			over = budget < 0 and n > 0
			if over then break end
			n = n + 1
			entry(out, n, OK, 0, ids[j], recs[j])
		end
	end
	local more = (over or call('ZCARD', k[3]) > from + #ids) and 1 or 0
	return head(clock(m[1]), m[2], m[3], more) .. concat(out)
end

-- A dead-lettered one that is kept no longer than what has finished.
local function let_go(rec, now)
	return sub(rec, 1, 77) .. char(LET_GO) .. sub(rec, 79, 107) .. pack('>I6', now) .. sub(rec, 114)
end

-- m s d f · ids. They are kept no longer than what has finished.
local function drop(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb')
	probe('hhzl', k)
	local now, out, done = clock(m[1]), {}, {}
	local ids, by = load_items(k[2], a[1], 16)
	for j = 1, #ids do
		local rec = by[ids[j]]
		local status = not rec and NOT_FOUND or byte(rec, 67) == DEAD and OK or WRONG
		if status == OK and call('ZREM', k[3], ids[j]) == 1 then
			done[#done + 1] = ids[j]
			call('HSET', k[2], ids[j], let_go(rec, now))
		end
		entry(out, j, status, 0, ids[j], rec)
	end
	ended(k[4], now, done)
	return head(now, m[2], m[3], 0) .. concat(out)
end

-- m s i z n q0 q1 q2 f d · incarnation, max waiting, max bytes, the same of one sender, generation that the node lives by, item: that of accept, then
-- the id of the dead-lettered one. What stands in its place is new: another id, no attempts, under the same idempotency key; the old one is kept no longer
-- than what has finished.
local function replay(k, a)
	init()
	local km, ks, item = k[1], k[2], a[7]
	local m = call('HMGET', km, 'inc', 'seq', 'w', 'wb', 'arm', 't', 'ep', sub(item, 18, 25), 'rev')
	local base = sub(km, 1, -2)
	if m[1] ~= a[1] or not fresh(a[1]) then return closed(base, ks, sub(item, 1, ITEM)) end
	if number(a[6]) < number(m[9]) then return closed(base, ks, sub(item, 1, ITEM), 'R') end
	local id, token, old_id = sub(item, 1, 16), sub(item, 46, 53), sub(item, ITEM + 1, ITEM + 16)
	local recs = call('HMGET', ks, '.', id, old_id, '#')
	if not recs[1] then return closed(base, ks, sub(item, 1, ITEM)) end
	local rec, old, status, flags, out = recs[2], recs[3], OK, 0, {}
	local now, seq, t = clock(m[6]), tonumber(m[2]) + 1, tally(m[3], m[4])
	local _, _, _, size = unpk('>I6BBI4', item, 34)
	local of_n, of_b = share(m[8])
	probe('hhhzzllllz', k)
	if rec then
		status = whole(rec) and sub(rec, 30, 37) == token and OK or REPLAYED
	elseif not whole(old) then
		status = NOT_FOUND
	elseif not call('ZSCORE', k[10], old_id) then
		status, rec = WRONG, old
	elseif of_n >= tonumber(a[4]) then
		status, flags, rec = QUOTA, OVER_SENDER, old
	elseif of_b + size > tonumber(a[5]) then
		status, flags, rec = QUOTA, OVER_SENDER_BYTES, old
	elseif t.w >= tonumber(a[2]) then
		status, flags, rec = QUOTA, OVER_ROUTE, old
	elseif t.wb + size > tonumber(a[3]) then
		status, flags, rec = QUOTA, OVER_ROUTE_BYTES, old
	else
		rec = sub(item, 17, 53) .. sub(old, 38, 54) .. pack('>I6I6BI6', now, seq, QUEUED, now) .. INIT
		waits(t, rec, 1)
		local key = byte(old, 54) == 1 and sub(old, 38, 53)
		local value = key and call('HGET', k[3], key)
		if value and sub(value, 1, 16) == old_id then call('HSET', k[3], key, id .. sub(value, 17)) end
		call('HSET', ks, id, rec, old_id, let_go(old, now), '#', number(recs[4]) + size)
		call('ZADD', k[5], seq, id)
		call('RPUSH', k[5 + class(rec)], id)
		call('ZREM', k[10], old_id)
		ended(k[9], now, {old_id})
		settle(km, t, now, 'seq', seq)
		wake(km, m[5], '')
	end
	if status ~= OK then call('UNLINK', base .. 'b:' .. id .. token) end
	entry(out, 1, status, flags, id, rec)
	return head(now, t.w, t.wb, 0, m[7]) .. concat(out)
end
