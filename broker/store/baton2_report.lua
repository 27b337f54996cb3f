-- What may be said of a handoff that exists? Reports of the lease's holder (extend, event, finish), and what others decide about it
-- (cancel, quarantine). Part of the library that begins in baton2.lua.

-- holder: fence and owner
local function leased(rec, holder)
	local state = byte(rec, 67)
	return state >= LEASED and state <= INPUT and sub(rec, 92, 107) == holder
end

-- Ids in the order of items, the records that there are by id, and the bytes kept.
local function load_items(ks, items, width)
	local ids = {}
	for j = 1, #items / width do ids[j] = sub(items, (j - 1) * width + 1, (j - 1) * width + 16) end
	local recs, by = call('HMGET', ks, '#', tun(ids)), {}
	for j = 1, #ids do
		if whole(recs[j + 1]) then by[ids[j]] = recs[j + 1] end
	end
	return ids, by, number(recs[1])
end

-- The node is behind: it may report for somebody who is revoked by now (baton2_aside.lua). The last argument of these is the generation that it lives by.
local function behind(a, rev)
	return number(a[#a]) < number(rev)
end

local function save(ks, dirty, by, kept)
	local new = kept and {'#', kept} or {}
	for id in pairs(dirty) do new[#new + 1], new[#new + 2] = id, by[id] end
	if #new > 0 then call('HSET', ks, tun(new)) end
end

-- Its lease ends then.
local function until_when(rec, till)
	return sub(rec, 1, 107) .. pack('>I6', till) .. sub(rec, 114)
end

-- m s l · items. Item, 42 bytes: 1 id 17 fence 25 owner 33 lease ms 37 until (not 0: only what ends then, and never later).
local function extend(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb', 'rev')
	if behind(a, m[4]) then return 'R' end
	local ids, by = load_items(k[2], a[1], 42)
	local now, out, dirty, hints = clock(m[1]), {}, {}, {}
	for j = 1, #ids do
		local o, id, status = (j - 1) * 42, ids[j], OK
		local rec = by[id]
		if not rec then
			status = NOT_FOUND
		elseif not leased(rec, sub(a[1], o + 17, o + 32)) then
			status = LOST
		else
			local ms, only = unpk('>I4I6', a[1], o + 33)
			local till, before = now + ms, unpk('>I6', rec, 108)
			if only == 0 or (only == before and till < before) then
				if till < before then
					-- Shortened: the hint that the lease left would tell too late.
					hints[#hints + 1], hints[#hints + 2] = till, pack('>I8', unpk('>I8', rec, 92) - 1) .. id .. '\0'
				end
				rec = until_when(rec, till)
				by[id], dirty[id] = rec, true
			end
		end
		entry(out, j, status, 0, id, rec)
	end
	need('ZCARD', k[3], hints)
	save(k[2], dirty, by)
	if #hints > 0 then call('ZADD', k[3], tun(hints)) end
	return head(now, m[2], m[3], 0) .. concat(out)
end

-- Tokens of one store count up: a report with the same first half and a number not above the record's was written before.
local function seen(rec, token)
	local last = sub(rec, 79, 86)
	if last == token then return true end
	if sub(last, 1, 4) ~= sub(token, 1, 4) then return false end
	local behind = (unpk('>I4', last, 5) - unpk('>I4', token, 5)) % 4294967296
	return behind < 1048576
end

-- m s · items, bodies. Item, 50 bytes: 1 id 17 fence 25 owner 33 state (0 as it is) 34 max_events 38 token 46 repeat 47 lease ms (not 0:
-- the lease lasts so long from now, if it would end sooner; what is one event too many renews it too).
local function event(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb', 'rev')
	if behind(a, m[4]) then return 'R' end
	local ids, by = load_items(k[2], a[1], 50)
	local now, out, dirty = clock(m[1]), {}, {}
	local base = sub(k[1], 1, -2)
	for j = 1, #ids do
		local o, id, status = (j - 1) * 50, ids[j], OK
		local rec, token = by[id], sub(a[1], o + 38, o + 45)
		if not rec then
			status = NOT_FOUND
		elseif byte(a[1], o + 46) == 1 and seen(rec, token) then
			status = OK
		elseif not leased(rec, sub(a[1], o + 17, o + 32)) then
			status = LOST
		else
			local state, limit = unpk('>BI4', a[1], o + 33)
			local cursor, ms = cursor_of(rec), unpk('>I4', a[1], o + 47)
			if ms > 0 and now + ms > unpk('>I6', rec, 108) then
				rec = until_when(rec, now + ms)
				by[id], dirty[id] = rec, true
			end
			local new = with(rec, state == 0 and byte(rec, 67) or state, now, cursor + 1, nil, token)
			if cursor >= limit then
				status = QUOTA
			elseif not log(base, id, new, token, a[1 + j]) then
				status = WRONG
			else
				rec = new
				by[id], dirty[id] = rec, true
			end
		end
		entry(out, j, status, 0, id, rec)
	end
	save(k[2], dirty, by)
	return head(now, m[2], m[3], 0) .. concat(out)
end

-- Nothing of these is taken; what was MSET beside the call nobody would remove. One that a record names was taken before.
local function refuse_reports(base, ks, items)
	local ids, by = load_items(ks, items, 50)
	for j = 1, #ids do
		local token, _, where = unpk('>c8I4B', items, (j - 1) * 50 + 38)
		local rec = by[ids[j]]
		if where == 1 and not (rec and sub(rec, 79, 86) == token) then call('UNLINK', base .. 'b:' .. ids[j] .. token) end
	end
	return 'R'
end

-- m s z q0 q1 q2 f d x h · node, items, bodies. Item, 50 bytes: 1 id 17 fence 25 owner 33 kind 34 delay 38 token 46 size
-- 50 where the body is (0 none, 1 MSET beside the call, 2 the next argument). What is held since a fail-over, because its lease had lapsed, ends
-- by what its worker says late.
local function finish(k, a)
	init()
	local km, ks, items = k[1], k[2], a[2]
	local m = call('HMGET', km, 't', 'w', 'wb', 'arm', 'rev')
	if behind(a, m[5]) then return refuse_reports(sub(km, 1, -2), ks, items) end
	local ids, by, kept = load_items(ks, items, 50)
	local now, t = clock(m[1]), tally(m[2], m[3])
	local base, next_body = sub(km, 1, -2), 3
	local out, dirty, done, drop, queued, q = {}, {}, {}, {}, 0, {{}, {}, {}}
	local logs, bodies, dead, bad, delayed, told = {}, {}, {}, {}, {}, {}
	for j = 1, #ids do
		local o, id, status = (j - 1) * 50, ids[j], OK
		local rec, kind, delay, token, size, where = by[id], unpk('>BI4c8I4B', items, o + 33)
		local body = ''
		if where == 2 then
			body, next_body = a[next_body], next_body + 1
		end
		local holder = sub(items, o + 17, o + 32)
		local held = rec and byte(rec, 67) == HELD and has(rec, UNCONFIRMED) and FINISH_STATE[kind]
		local late = rec and (held or byte(rec, 67) == QUEUED) and not has(rec, GIVEN_BACK) and sub(rec, 92, 107) == holder
			and sub(rec, 92, 99) ~= ZERO8
		if not rec then
			status = NOT_FOUND
		elseif sub(rec, 79, 86) == token then
			status = OK
		elseif not late and not leased(rec, holder) then
			status = LOST
		else
			local cursor, attempt, state = cursor_of(rec) + 1, byte(rec, 91), FINISH_STATE[kind]
			if late then waits(t, rec, -1) end
			if held then told[#told + 1] = id end
			if kind == RELEASE and cursor < LIMIT_EVENTS then
				attempt = max(attempt - 1, 0)
			elseif (kind == RETRY or kind == RELEASE) and attempt >= byte(rec, 25) then
				state = DEAD
			end
			if state then
				rec, kept = with(rec, state, now, cursor, nil, token, size), kept + size
				if where == 2 then bodies[#bodies + 1] = {base .. 'b:' .. id .. token, body} end
				if state == DEAD then dead[#dead + 1], dead[#dead + 2] = now, id else done[#done + 1] = id end
			elseif kind == QUARANTINE then
				rec = with(rec, QUARANTINED, now, cursor, nil, token)
				logs[#logs + 1] = {id, rec, token, body}
				bad[#bad + 1], bad[#bad + 2] = now, id
			else
				rec = with(rec, QUEUED, now, cursor, GIVEN_BACK + kept_marks(rec), token, nil, attempt)
				logs[#logs + 1] = {id, rec, token, body}
				rec = sub(rec, 1, 99) .. ZERO8 .. pack('>I6', now) .. sub(rec, 114)
				waits(t, rec, 1)
				if late then
					queued = queued + 1 -- it stands in its queue since the lapse
				elseif delay > 0 then
					local deadline = unpk('>I6', rec, 18)
					delayed[#delayed + 1], delayed[#delayed + 2] = deadline > 0 and min(now + delay, deadline) or now + delay, id
				else
					local c = q[class(rec)]
					c[#c + 1], queued = id, queued + 1
				end
			end
			by[id], dirty[id] = rec, true
		end
		if where == 1 and status ~= OK then drop[#drop + 1] = base .. 'b:' .. id .. token end
		entry(out, j, status, 0, id, rec)
	end
	need('ZCARD', k[3], delayed) need('LLEN', k[4], q[1]) need('LLEN', k[5], q[2]) need('LLEN', k[6], q[3])
	need('LLEN', k[7], done) need('ZCARD', k[8], dead) need('ZCARD', k[9], bad) need('ZCARD', k[10], told) need('ZCARD', k[3], told)
	for j = 1, #bodies do call('SET', tun(bodies[j])) end
	for j = 1, #logs do log(base, tun(logs[j])) end
	save(ks, dirty, by, #done + #dead > 0 and kept)
	push(k[4], q[1]) push(k[5], q[2]) push(k[6], q[3])
	if #delayed > 0 then call('ZADD', k[3], tun(delayed)) end
	if #dead > 0 then call('ZADD', k[8], tun(dead)) end
	if #bad > 0 then call('ZADD', k[9], tun(bad)) end
	if #told > 0 then
		call('ZREM', k[3], tun(told))
		call('ZREM', k[10], tun(told))
	end
	ended(k[7], now, done)
	settle(km, t, now)
	if queued > 0 then wake(km, m[4], a[1]) end
	if #drop > 0 then call('UNLINK', tun(drop)) end
	return head(now, t.w, t.wb, 0) .. concat(out)
end

-- m s z f h x · items, bodies. Item, 29 bytes: 1 id 17 token 25 size 29 where the body is. A cancelled id in a queue is skipped there.
-- A body is sealed for the id asked for: when that is an alias, the entry names the first one, with flag 1, to be asked for instead.
local function cancel(k, a)
	init()
	local km, ks, items = k[1], k[2], a[1]
	local m = call('HMGET', km, 't', 'w', 'wb')
	local now, t = clock(m[1]), tally(m[2], m[3])
	local base, next_body, out = sub(km, 1, -2), 2, {}
	probe('hhzlzz', k)
	local kept = number(call('HGET', ks, '#'))
	for j = 1, #items / 29 do
		local o = (j - 1) * 29
		local asked, token, size, where = unpk('>c16c8I4B', items, o + 1)
		local id, rec = find_record(ks, asked, call('HGET', ks, asked))
		local body, status, flags = '', OK, 0
		if where == 2 then
			body, next_body = a[next_body], next_body + 1
		end
		local state = rec and byte(rec, 67)
		if not rec then
			status = NOT_FOUND
		elseif sub(rec, 79, 86) == token then
			status = OK
		elseif state > QUARANTINED then
			status = WRONG
		elseif id ~= asked and where > 0 then
			status, flags = WRONG, 1
		else
			local marks = 0
			if state < LEASED then
				waits(t, rec, -1)
				call('ZREM', k[3], id)
				if state == HELD then call('ZREM', k[5], id) end
			elseif state == QUARANTINED then
				call('ZREM', k[6], id)
			else
				marks = 1
			end
			if where == 2 then call('SET', base .. 'b:' .. id .. token, body) end
			rec, kept = with(rec, CANCELLED, now, cursor_of(rec) + 1, marks, token, size), kept + size
			call('HSET', ks, id, rec, '#', kept)
			ended(k[4], now, {id})
		end
		if where == 1 and status ~= OK then call('UNLINK', base .. 'b:' .. asked .. token) end
		entry(out, j, status, flags, id, rec)
	end
	settle(km, t, now)
	return head(now, t.w, t.wb, 0) .. concat(out)
end

-- m s z h x · ids. What does not open is taken out of circulation; a terminal record stays as it is.
local function quarantine(k, a)
	init()
	local km, ks = k[1], k[2]
	local m = call('HMGET', km, 't', 'w', 'wb')
	local now, t = clock(m[1]), tally(m[2], m[3])
	local base, out = sub(km, 1, -2), {}
	probe('hhzzz', k)
	local ids, by = load_items(ks, a[1], 16)
	for j = 1, #ids do
		local id = ids[j]
		local rec = by[id]
		if rec and byte(rec, 67) < QUARANTINED then
			if byte(rec, 67) < LEASED then
				waits(t, rec, -1)
				call('ZREM', k[3], id)
				call('ZREM', k[4], id)
			end
			rec = with(rec, QUARANTINED, now, cursor_of(rec) + 1)
			log(base, id, rec, ZERO8, '')
			call('HSET', ks, id, rec)
			call('ZADD', k[5], now, id)
		end
		by[id] = rec
		entry(out, j, rec and OK or NOT_FOUND, 0, id, rec)
	end
	settle(km, t, now)
	return head(now, t.w, t.wb, 0) .. concat(out)
end
