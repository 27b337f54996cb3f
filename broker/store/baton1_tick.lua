-- What does time do to the handoffs of a slot? And, at the end, the Functions' names.

local function purge_ids(k, base, ids, recs)
	local gone, idem, keys = {}, {}, {}
	for j = 1, #ids do
		local id, rec = ids[j], recs[j]
		if rec then
			gone[#gone + 1] = id
			if byte(rec, 1) == 82 then
				keys[#keys + 1], keys[#keys + 2] = base .. 'b:' .. id .. sub(rec, 30, 37), base .. 'e:' .. id
				if sub(rec, 87, 90) ~= '\0\0\0\0' then keys[#keys + 1] = base .. 'b:' .. id .. sub(rec, 79, 86) end
				if byte(rec, 54) == 1 then idem[#idem + 1] = {sub(rec, 38, 53), id} end
			end
		end
	end
	if #gone == 0 then return end
	call('HDEL', k[2], tun(gone))
	if #keys > 0 then call('UNLINK', tun(keys)) end
	for j = 1, #idem do
		local value = call('HGET', k[3], idem[j][1])
		if value and sub(value, 1, 16) == idem[j][2] then call('HDEL', k[3], idem[j][1]) end
	end
end

-- m s i z l q0 q1 q2 n f d h · node, keep finished ms, keep dead ms (0 = for good). extra = 1 when more is due now. The entries are
-- the records that changed, and those whose backing off ended.
local function tick(k, a)
	init()
	local km, ks, base = k[1], k[2], sub(k[1], 1, -2)
	local m = call('HMGET', km, 't', 'w', 'wb', 'arm', 'sc', 'nb', 'inc')
	if not m[7] then return 'O' end
	local now, w, wb, more, moved = clock(m[1]), tonumber(m[2]), tonumber(m[3]), 0, false
	local now6, q, queued, out, done, new = pack('>I6', now), {{}, {}, {}}, 0, {}, {}, {}
	local late, n_out = {}, 0

	local function note(id, rec)
		n_out = n_out + 1
		entry(out, n_out, OK, 0, id, rec)
		new[#new + 1], new[#new + 2] = id, rec
	end
	local function queue(id, rec)
		local c = q[class(rec)]
		c[#c + 1], queued = id, queued + 1
	end
	local function expire(id, rec, waiting)
		if waiting then w, wb, moved = w - 1, wb - size_of(rec), true end
		done[#done + 1] = id
		late[id] = true
		note(id, with(rec, EXPIRED, now, cursor_of(rec) + 1))
	end
	local function due(rec)
		local deadline = unpk('>I6', rec, 18)
		return deadline > 0 and deadline <= now
	end

	-- Leases that ran out. A hint tells where to look; the record says whether it was extended, finished or leased again.
	local looked, hints = 0, call('ZRANGEBYSCORE', k[5], '-inf', now, 'LIMIT', 0, 16)
	for _, hint in ipairs(hints) do
		if looked >= LIMIT_TICK then more = 1 break end
		local first, ids = unpk('>I8', hint, 1), {}
		for o = 9, #hint, 17 do ids[#ids + 1] = sub(hint, o, o + 15) end
		local recs, keep, soonest = call('HMGET', ks, tun(ids)), {}, nil
		looked = looked + #ids
		for j = 1, #ids do
			local id, rec = ids[j], recs[j]
			local fence = first + 1 + byte(hint, 8 + j * 17)
			if rec and byte(rec, 67) >= LEASED and byte(rec, 67) <= INPUT and unpk('>I8', rec, 92) == fence then
				local till = unpk('>I6', rec, 108)
				if till > now then
					keep[#keep + 1] = sub(hint, 9 + (j - 1) * 17, 8 + j * 17)
					soonest = min(soonest or till, till)
				elseif due(rec) then
					expire(id, rec, false)
				elseif byte(rec, 91) >= byte(rec, 25) then
					note(id, with(rec, DEAD, now, cursor_of(rec) + 1))
					call('ZADD', k[11], now, id)
				else
					rec = with(rec, QUEUED, now, cursor_of(rec) + 1, 0)
					log(base, id, rec, ZERO8, '')
					note(id, rec)
					queue(id, rec)
					w, wb, moved = w + 1, wb + size_of(rec), true
				end
			end
		end
		call('ZREM', k[5], hint)
		if soonest then call('ZADD', k[5], soonest, sub(hint, 1, 8) .. concat(keep)) end
	end

	-- Scheduled, backing off, deadlines of held work.
	local ids = call('ZRANGEBYSCORE', k[4], '-inf', now, 'LIMIT', 0, LIMIT_TICK)
	if #ids > 0 then
		if #ids == LIMIT_TICK then more = 1 end
		local recs, held = call('HMGET', ks, tun(ids)), {}
		for j = 1, #ids do
			local id, rec = ids[j], recs[j]
			local state = rec and byte(rec, 67) or 0
			if state >= HELD and state <= QUEUED and due(rec) then
				if state == HELD then held[#held + 1] = id end
				expire(id, rec, true)
			elseif state == SCHEDULED then
				rec = with(rec, QUEUED, now, cursor_of(rec) + 1)
				log(base, id, rec, ZERO8, '')
				note(id, rec)
				queue(id, rec)
			elseif state == QUEUED then
				note(id, rec)
				queue(id, rec)
			end
		end
		call('ZREM', k[4], tun(ids))
		if #held > 0 then call('ZREM', k[12], tun(held)) end
	end

	-- Deadlines of queued work: a window that moves through the queues; what is past is skipped when it is popped later.
	local lens = {call('LLEN', k[6]), call('LLEN', k[7]), call('LLEN', k[8])}
	local at = tonumber(m[5] or 0)
	if at >= lens[1] + lens[2] + lens[3] then at = 0 end
	local skip, which = at, 1
	while which < 3 and skip >= lens[which] do skip, which = skip - lens[which], which + 1 end
	ids = lens[which] > 0 and call('LRANGE', k[5 + which], skip, skip + 127) or {}
	if #ids > 0 then
		local recs = call('HMGET', ks, tun(ids))
		for j = 1, #ids do
			local rec = recs[j]
			if rec and byte(rec, 67) == QUEUED and due(rec) and not late[ids[j]] then expire(ids[j], rec, true) end
		end
		if lens[1] + lens[2] + lens[3] > #ids then call('HSET', km, 'sc', at + #ids) end
	end

	if #new > 0 then call('HSET', ks, tun(new)) end
	push(k[6], q[1]) push(k[7], q[2]) push(k[8], q[3])
	if #done > 0 then call('RPUSH', k[10], now6 .. concat(done)) end
	if moved then call('HSET', km, 'w', w, 'wb', wb, 't', now) end
	if queued > 0 then wake(km, m[4], a[1]) end

	-- Retention, in the order in which they finished.
	local keep, keep_dead, purged = tonumber(a[2]), tonumber(a[3]), 0
	while purged < LIMIT_TICK do
		local oldest = call('LINDEX', k[10], 0)
		if not oldest or unpk('>I6', oldest, 1) + keep > now then break end
		local old = {}
		for o = 7, #oldest, 16 do old[#old + 1] = sub(oldest, o, o + 15) end
		call('LPOP', k[10])
		purge_ids(k, base, old, call('HMGET', ks, tun(old)))
		purged = purged + #old
	end
	if purged >= LIMIT_TICK then more = 1 end
	if keep_dead > 0 then
		local old = call('ZRANGEBYSCORE', k[11], '-inf', now - keep_dead, 'LIMIT', 0, 64)
		if #old > 0 then
			purge_ids(k, base, old, call('HMGET', ks, tun(old)))
			call('ZREM', k[11], tun(old))
			purged = purged + #old
		end
	end
	local head_ids = call('LRANGE', k[9], 0, LIMIT_TICK - 1)
	if #head_ids > 0 and not call('HGET', ks, head_ids[1]) then
		local recs, n = call('HMGET', ks, tun(head_ids)), 0
		while n < #head_ids and not recs[n + 1] do n = n + 1 end
		call('LTRIM', k[9], n, -1)
		call('HSET', km, 'nb', tonumber(m[6] or 0) + n)
	end
	return head(now, w, more) .. concat(out)
end

local function add(name, fn, flag)
	redis.register_function{function_name = 'baton1_' .. name, callback = fn, flags = flag and {flag} or {}}
end

add('open', open, 'allow-oom')
add('accept', accept)
add('lease', lease, 'allow-oom')
add('extend', extend, 'allow-oom')
add('event', event, 'allow-oom')
add('finish', finish, 'allow-oom')
add('cancel', cancel, 'allow-oom')
add('quarantine', quarantine, 'allow-oom')
add('tick', tick, 'allow-oom')
add('get', get, 'no-writes')
add('events', events, 'no-writes')
add('list', list, 'no-writes')
