-- What does time do to the handoffs of a slot? Leases lapse, delays end, deadlines pass, and what has ended is forgotten after a while.
-- A tick gathers what is due (t), then writes it, then forgets. Then how a node joins those that are here, and the
-- Functions' names.

-- A record that changed, or whose backing off ended.
local function note(t, id, rec)
	t.n_out = t.n_out + 1
	entry(t.out, t.n_out, OK, 0, id, rec)
	t.new[#t.new + 1], t.new[#t.new + 2] = id, rec
	t.seen[id] = true
end

local function queue(t, id, rec)
	local c = t.q[class(rec)]
	c[#c + 1], t.queued = id, t.queued + 1
end

-- The n-th lapse backs off for [least * 2^(n-1), least * 2^n), up to the most; where in it the id says, which is a hash.
local function backoff(t, id, attempt)
	local high = min(t.least * 2 ^ attempt, t.most)
	local low = max(t.least, floor(high / 2))
	return low + floor((high - low + 1) * unpk('>I4', id, 1) / 4294967296)
end

-- What a silent worker held comes back after a while, and no report of that lease counts any more: as if it had been given back. The
-- answer's record has the owner still.
local function back_off(t, id, rec)
	local deadline, due_at = unpk('>I6', rec, 18), t.now + backoff(t, id, byte(rec, 91))
	rec = with(rec, QUEUED, t.now, cursor_of(rec) + 1, GIVEN_BACK + kept_marks(rec))
	t.logs[#t.logs + 1] = {id, rec}
	note(t, id, rec)
	t.new[#t.new] = sub(rec, 1, 99) .. ZERO8 .. sub(rec, 108)
	t.later[#t.later + 1], t.later[#t.later + 2] = deadline > 0 and min(due_at, deadline) or due_at, id
end

local function promote(t, id, rec)
	rec = with(rec, QUEUED, t.now, cursor_of(rec) + 1, kept_marks(rec))
	t.logs[#t.logs + 1] = {id, rec}
	note(t, id, rec)
	queue(t, id, rec)
end

local function expire(t, id, rec, waiting)
	if waiting then waits(t, rec, -1) end
	t.done[#t.done + 1] = id
	note(t, id, with(rec, EXPIRED, t.now, cursor_of(rec) + 1))
end

local function due(t, rec)
	local deadline = unpk('>I6', rec, 18)
	return deadline > 0 and deadline <= t.now
end

local function formed(hint)
	return #hint > 8 and (#hint - 8) % 17 == 0
end

-- Hints that are due and the ids in them, until there are LIMIT_TICK of either.
local function due_hints(t, key)
	local hints, ids = {}, {}
	for at = 0, LIMIT_TICK - 1, 16 do
		local some = call('ZRANGEBYSCORE', key, '-inf', t.now, 'LIMIT', at, 16)
		for j = 1, #some do
			if #ids >= LIMIT_TICK then t.more = 1 return hints, ids end
			hints[#hints + 1] = some[j]
			for o = 9, formed(some[j]) and #some[j] or 0, 17 do ids[#ids + 1] = sub(some[j], o, o + 15) end
		end
		if #some < 16 then return hints, ids end
	end
	t.more = 1
	return hints, ids
end

-- The lease that a hint tells of; the record says whether it was extended (then until when is returned), finished or leased again.
local function lapse(t, id, rec, fence)
	if not whole(rec) or t.seen[id] then return end
	if byte(rec, 67) < LEASED or byte(rec, 67) > INPUT or unpk('>I8', rec, 92) ~= fence then return end
	local till = lapses_at(rec, t.opened)
	if till > t.now then return till end
	if due(t, rec) then
		expire(t, id, rec, false)
	elseif byte(rec, 91) >= byte(rec, 25) then
		t.dead[#t.dead + 1], t.dead[#t.dead + 2] = t.now, id
		note(t, id, with(rec, DEAD, t.now, cursor_of(rec) + 1))
	else
		waits(t, rec, 1)
		if t.most > 0 then back_off(t, id, rec) else promote(t, id, rec) end
	end
end

local function lapses(t, k)
	local hints, ids = due_hints(t, k[5])
	local recs, n = #ids > 0 and call('HMGET', k[2], tun(ids)) or {}, 0
	for j = 1, #hints do
		local hint, keep, soonest = hints[j], {}, nil
		local first = formed(hint) and unpk('>I8', hint, 1)
		for o = 9, first and #hint or 0, 17 do
			n = n + 1
			local till = lapse(t, ids[n], recs[n], first + 1 + byte(hint, o + 16))
			if till then
				keep[#keep + 1] = sub(hint, o, o + 16)
				soonest = min(soonest or till, till)
			end
		end
		if soonest then t.hints[#t.hints + 1], t.hints[#t.hints + 2] = soonest, sub(hint, 1, 8) .. concat(keep) end
	end
	t.old_hints = hints
end

-- Scheduled, backing off, deadlines of held work.
local function delays(t, k)
	local ids = call('ZRANGEBYSCORE', k[4], '-inf', t.now, 'LIMIT', 0, LIMIT_TICK)
	local recs = #ids > 0 and call('HMGET', k[2], tun(ids)) or {}
	if #ids == LIMIT_TICK then t.more = 1 end
	for j = 1, #ids do
		local id, rec = ids[j], recs[j]
		local state = whole(rec) and byte(rec, 67) or 0
		if state >= HELD and state <= QUEUED and due(t, rec) then
			if state == HELD then t.held[#t.held + 1] = id end
			expire(t, id, rec, true)
		elseif state == SCHEDULED then
			promote(t, id, rec)
		elseif state == QUEUED then
			note(t, id, rec)
			queue(t, id, rec)
		end
	end
	t.delayed = ids
end

-- Deadlines of queued work: a window that moves through the queues; what is past is skipped when it is popped later.
local function deadlines(t, k, at)
	local lens = {call('LLEN', k[6]), call('LLEN', k[7]), call('LLEN', k[8])}
	local all, before = lens[1] + lens[2] + lens[3], #t.done
	if at >= all then at = 0 end
	local skip, which = at, 1
	while which < 3 and skip >= lens[which] do skip, which = skip - lens[which], which + 1 end
	local ids = all > 0 and call('LRANGE', k[5 + which], skip, skip + LIMIT_TICK - 1) or {}
	local recs = #ids > 0 and call('HMGET', k[2], tun(ids)) or {}
	for j = 1, #ids do
		local rec = recs[j]
		if whole(rec) and byte(rec, 67) == QUEUED and due(t, rec) and not t.seen[ids[j]] then expire(t, ids[j], rec, true) end
	end
	local over = 0
	while skip == 0 and over < #ids do
		local rec = recs[over + 1]
		if whole(rec) and byte(rec, 67) == QUEUED and not due(t, rec) then break end
		over = over + 1
	end
	if over > 0 then t.trim = {k[5 + which], over, -1} end
	if #t.done > before or over == LIMIT_TICK then t.more = 1 end
	if all > #ids then t.window = at + #ids - over end
	-- Where nothing can wait, what the counters say is left over from damage.
	if all + t.queued + #t.later == 0 and (t.w ~= 0 or t.wb ~= 0) and call('ZCARD', k[4]) + call('ZCARD', k[12]) == 0 then
		t.w, t.wb, t.cleared = 0, 0, true
	end
end

local function carry_out(t, k, arm, me)
	if #t.new > 0 then call('HSET', k[2], tun(t.new)) end
	for j = 1, #t.logs do log(t.base, t.logs[j][1], t.logs[j][2], ZERO8, '') end
	if #t.old_hints > 0 then call('ZREM', k[5], tun(t.old_hints)) end
	if #t.hints > 0 then call('ZADD', k[5], tun(t.hints)) end
	if #t.delayed > 0 then call('ZREM', k[4], tun(t.delayed)) end
	if #t.later > 0 then call('ZADD', k[4], tun(t.later)) end
	if #t.held > 0 then call('ZREM', k[12], tun(t.held)) end
	if #t.dead > 0 then call('ZADD', k[11], tun(t.dead)) end
	if t.trim then call('LTRIM', tun(t.trim)) end
	push(k[6], t.q[1]) push(k[7], t.q[2]) push(k[8], t.q[3])
	ended(k[10], t.now, t.done)
	if t.window then call('HSET', k[1], 'sc', t.window) end
	if t.cleared then
		call('HSET', k[1], 'w', 0, 'wb', 0, 't', t.now)
		set_senders(k[1], tally())
	else
		settle(k[1], t, t.now)
	end
	if t.queued > 0 then wake(k[1], arm, me) end
end

-- All that is kept of these ids goes.
local function purge(t, k, ids)
	local recs, idem, keys = call('HMGET', k[2], tun(ids)), {}, {}
	for j = 1, #ids do
		local id, rec = ids[j], recs[j]
		if whole(rec) then
			keys[#keys + 1], keys[#keys + 2] = t.base .. 'b:' .. id .. sub(rec, 30, 37), t.base .. 'e:' .. id
			if sub(rec, 87, 90) ~= '\0\0\0\0' then keys[#keys + 1] = t.base .. 'b:' .. id .. sub(rec, 79, 86) end
			t.freed = t.freed + size_of(rec) + unpk('>I4', rec, 87)
			if byte(rec, 54) == 1 then idem[#idem + 1] = {sub(rec, 38, 53), id} end
		end
	end
	call('HDEL', k[2], tun(ids))
	call('ZREM', k[9], tun(ids))
	if #keys > 0 then call('UNLINK', tun(keys)) end
	for j = 1, #idem do
		local value = call('HGET', k[3], idem[j][1])
		if value and sub(value, 1, 16) == idem[j][2] then call('HDEL', k[3], idem[j][1]) end
	end
end

-- What is kept without the blobs that were purged.
local function keeps(t, ks)
	local kept = max(number(call('HGET', ks, '#')) - t.freed, 0)
	if t.freed > 0 then call('HSET', ks, '#', kept) end
	return kept
end

-- What a check found that nothing would forget, though it is time.
repair[9] = function(c, id)
	c.freed = 0
	purge(c, c.k, {id})
	keeps(c, c.s)
end

-- In the order in which they ended. An entry is a time and up to 256 ids.
local function forget_ended(t, k, keep)
	local ids, n, over = {}, 0, false
	while not over do
		local some = call('LRANGE', k[10], n, n + 15)
		over = #some < 16
		for j = 1, #some do
			local good = #some[j] > 6 and (#some[j] - 6) % 16 == 0
			if #ids >= LIMIT_TICK or n >= LIMIT_TICK then t.more, over = 1, true break end
			if good and unpk('>I6', some[j], 1) + keep > t.now then over = true break end
			for o = 7, good and #some[j] or 0, 16 do ids[#ids + 1] = sub(some[j], o, o + 15) end
			n = n + 1
		end
	end
	if n > 0 then call('LTRIM', k[10], n, -1) end
	if #ids > 0 then purge(t, k, ids) end
end

local function forget_dead(t, k, keep)
	local ids = keep > 0 and call('ZRANGEBYSCORE', k[11], '-inf', t.now - keep, 'LIMIT', 0, LIMIT_TICK) or {}
	if #ids == LIMIT_TICK then t.more = 1 end
	if #ids > 0 then
		purge(t, k, ids)
		call('ZREM', k[11], tun(ids))
	end
end

-- m s i z l q0 q1 q2 n f d h · node, keep finished ms, keep dead ms (0 = for good), least and most ms that a lapse backs off (0 = not),
-- incarnation: a slot is opened soon after Redis came back, not when its first envelope comes, which would be refused. extra = four
-- times the bytes kept, 2 when work waits or is leased, and 1 when more is due now. The entries are the records that changed, and those whose
-- backing off ended.
local function tick(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb', 'arm', 'sc', 'inc', 'ep', 'floor')
	if m[6] ~= a[6] or not fresh(a[6]) then return 'O' end
	if number(m[2]) == 0 and number(m[3]) == 0 and call('EXISTS', k[4], k[5], k[6], k[7], k[8], k[10], k[11]) == 0 then -- nothing can be due
		return head(clock(m[1]), 0, 0, number(call('HGET', k[2], '#')) * 4, m[7])
	end
	probe('hhhzzlllzlzz', k)
	local t = {base = sub(k[1], 1, -2), now = clock(m[1]), w = number(m[2]), wb = number(m[3]), who = {}, n = {}, b = {}, more = 0, freed = 0,
		q = {{}, {}, {}}, queued = 0, out = {}, n_out = 0, new = {}, logs = {}, done = {}, dead = {}, held = {}, hints = {}, later = {}, seen = {},
		least = tonumber(a[4]), most = tonumber(a[5]), opened = number(m[8])}
	lapses(t, k)
	delays(t, k)
	deadlines(t, k, tonumber(m[5] or 0))
	carry_out(t, k, m[4], a[1])
	forget_ended(t, k, tonumber(a[2]))
	forget_dead(t, k, tonumber(a[3]))
	local kept = keeps(t, k[2])
	local busy = (t.w > 0 or call('ZCARD', k[5]) > 0) and 2 or 0
	return head(t.now, t.w, t.wb, kept * 4 + busy + t.more, m[7]) .. concat(t.out)
end

-- {/}:seal, {/}:node:<name> · this run of the node, prints of its sealing keys, the one that seals first. Answer: 0 what is kept here is
-- sealed with none of them, 1 welcome, 2 welcome, but a node that is connected has the same name.
local function join(k, a)
	init()
	local seal, there, known = call('GET', k[1]), call('GET', k[2]), false
	for j = 2, #a do known = known or seal == a[j] end
	if seal and not known then return 0 end
	if seal ~= a[2] then call('SET', k[1], a[2]) end
	call('SET', k[2], a[1], 'EX', 86400)
	return there and there ~= a[1] and call('PUBSUB', 'NUMSUB', 'baton:wake:' .. there)[2] > 0 and 2 or 1
end

local function add(name, fn, ...)
	redis.register_function{function_name = 'baton2_' .. name, callback = fn, flags = {...}}
end

add('join', join, 'allow-oom')
add('open', open, 'allow-oom')
add('accept', accept)
add('publish', publish)
add('lease', lease, 'allow-oom')
add('extend', extend, 'allow-oom')
add('event', event, 'allow-oom')
add('finish', finish, 'allow-oom')
add('cancel', cancel, 'allow-oom')
add('quarantine', quarantine, 'allow-oom')
add('route', route, 'allow-oom')
add('drop', drop, 'allow-oom')
add('replay', replay)
add('tick', tick, 'allow-oom')
add('mend', mend, 'allow-oom')
add('get', get, 'no-writes')
add('events', events, 'no-writes')
add('list', list, 'no-writes')
add('dead', dead, 'no-writes')
add('look', look, 'no-writes', 'allow-cross-slot-keys') -- place 15
add('change', SHARED.change, 'allow-oom')
add('feed', SHARED.feed, 'allow-oom')
add('versions', SHARED.versions, 'no-writes')
add('barrier', ASIDE.barrier, 'allow-oom')
add('aside', ASIDE.aside, 'allow-oom')
add('rights', rights, 'allow-oom')
