#!lua name=baton1
-- What does Redis do in one step? Everything that changes a slot {tenant/route}: this library is the only writer of its keys.
-- Rules kept here: all checks come before the first write (Functions do not roll back); every Function is safe to repeat (tokens,
-- fences); loops are bounded by the number of ids handed in or by the LIMIT constants below. Payloads never come through here
-- but by exception: they are MSET beside the call. Binary strings are big-endian and fixed in width; record.c is the C side.
--
-- Record, 119 bytes (positions count from 1); what changes together stands together, because every piece costs a string here:
--   1 'R'  2-9 sender  10-17 bytes_print  18-23 deadline  24 priority  25 max_attempts  26-29 size of the sealed task
--   30-37 token of the submission, part of the task blob's name  38-53 idempotency  54 flags (1: has it)
--   55-60 accepted_at  61-66 position
--   67 state  68-73 updated_at  74-77 cursor  78 marks (1 stop requested, 2 given back)
--   79-86 token of the last report, part of the outcome blob's name  87-90 size of the sealed outcome, 0 = none
--   91 attempt  92-99 fence  100-107 owner  108-113 lease_until  114-119 first_leased_at
-- Alias, 47 bytes: 1 'A'  2-17 id of the first handoff  18-25 sender  26-33 bytes_print  34-39 accepted_at  40-47 token
-- Event: 1 state  2-7 at  8-11 cursor  12 attempt  13-20 owner  21-28 token  29- sealed body
-- Lease hint: fence before the first 8, then id 16 and number of the fence from there 1, counted from 0
-- Answer: 'O' (the slot must be opened) or 'K' now 6, waiting 6, extra 6, epoch 4, then one entry an item:
--   status 1, flags 1, id 16, record 119 (zeros when there is none)

local call, sub, byte, char, rep, find, match, gmatch, pack, unpk, tun, concat, floor, max, min
local NONE, ZERO6, ZERO8, INIT, MARK

local QUEUED, LEASED, INPUT, QUARANTINED, SCHEDULED, HELD = 3, 4, 6, 7, 2, 1
local CANCELLED, EXPIRED, DEAD = 13, 14, 15
local OK, REPLAYED, DUPLICATE, CONFLICT, QUOTA, STALE, LOST, NOT_FOUND, WRONG = 0, 1, 2, 3, 4, 5, 6, 7, 8
local FINISH_STATE = {[0] = 10, [1] = 11, [2] = 12, [6] = 14}
local RETRY, RELEASE, QUARANTINE = 3, 4, 5

local LIMIT_POPS = 1024      -- ids one lease call takes from the queues
local LIMIT_TICK = 256       -- ids of one kind that a tick looks at
local LIMIT_LOOK = 512       -- records a list looks at
local LIMIT_EVENTS = 2000    -- cursor from which a release costs an attempt: bounds the event list
local FENCE_UNIT, FENCE_EPOCH = 4096, 1577836800000 -- a fence is at least (ms since 2020) * 4096: stays under 2^53 until 2089
local EVENT_BYTES = 4194304  -- bodies in one answer of events

-- Globals do not exist while a library loads.
local function init()
	if call then return end
	sub, byte, char, rep, find = string.sub, string.byte, string.char, string.rep, string.find
	match, gmatch = string.match, string.gmatch
	pack, unpk, tun, concat = struct.pack, struct.unpack, unpack, table.concat
	floor, max, min = math.floor, math.max, math.min
	NONE, ZERO6, ZERO8 = rep('\0', 119), rep('\0', 6), rep('\0', 8)
	INIT = '\0\0\0\1' .. rep('\0', 42) -- of a new record, from the cursor on
	MARK = {}
	for status = 0, 15 do MARK[2 * status], MARK[2 * status + 1] = char(status, 0), char(status, 1) end
	call = redis.call
end

local function clock(last)
	local t = call('TIME')
	return max(t[1] * 1000 + floor(t[2] / 1000), tonumber(last or 0))
end

local function fresh(inc)
	return find(call('INFO', 'replication'), 'master_replid:' .. inc .. '\r\n', 1, true)
end

local function head(now, w, extra, epoch)
	return pack('>BI6I6I6I4', 75, now, max(w, 0), extra, tonumber(epoch or 0))
end

local function class(rec)
	local p = byte(rec, 24)
	if p < 4 then return 1 elseif p < 7 then return 2 end
	return 3
end

local function push(key, ids)
	if #ids > 0 then call('RPUSH', key, tun(ids)) end
end

-- Tells the nodes that found nothing to lease; the caller's own node wakes itself.
local function wake(km, arm, me)
	if not arm then return end
	for node in gmatch(arm, '%S+') do
		if node ~= me then call('PUBLISH', 'baton:wake:' .. node, km) end
	end
	call('HDEL', km, 'arm')
end

-- The record with another state; nil keeps a field.
local function with(rec, state, now, cursor, marks, token, osize, attempt)
	return sub(rec, 1, 66)
		.. pack('>BI6I4Bc8I4', state, now, cursor, marks or byte(rec, 78), token or sub(rec, 79, 86), osize or (unpk('>I4', rec, 87)))
		.. (attempt and char(attempt) .. sub(rec, 92) or sub(rec, 91))
end

local function cursor_of(rec)
	return (unpk('>I4', rec, 74))
end

local function size_of(rec)
	return (unpk('>I4', rec, 26))
end

-- Writes down an event that is neither the first, the first lease nor the last; rec is how the record is after it.
local function log(base, id, rec, token, body)
	call('RPUSH', base .. 'e:' .. id, sub(rec, 67, 77) .. sub(rec, 91, 91) .. sub(rec, 100, 107) .. token .. body)
end

-- Follows an alias. Returns id, record; record false when there is none.
local function find_record(ks, id, rec)
	if rec and byte(rec, 1) == 65 then
		id = sub(rec, 2, 17)
		rec = call('HGET', ks, id)
		if rec and byte(rec, 1) ~= 82 then rec = false end
	end
	return id, rec
end

-- Entry j of an answer. Three pieces that exist already cost less than one new string.
local function entry(out, j, status, flags, id, rec)
	out[3 * j - 2], out[3 * j - 1], out[3 * j] = MARK[2 * status + flags], id, rec or NONE
end

-- m s n q0 q1 q2 z h · remembered epoch, remembered sequence. Answer: 'K' header with extra = sequence, then changed 1, lost 6,
-- floor 6, fence 8, incarnation 40. Another incarnation, or none, moves the floor to now and lifts the fences.
local function open(k, a)
	init()
	local km, ks = k[1], k[2]
	local inc = match(call('INFO', 'replication'), 'master_replid:(%x+)')
	local m = call('HMGET', km, 'inc', 'ep', 'floor', 'seq', 'fence', 't', 'w')
	local now = clock(m[6])
	local base, fence = tonumber(m[3] or 0), tonumber(m[5] or 0)
	local epoch, seq, w = tonumber(m[2] or 0), tonumber(m[4] or 0), tonumber(m[7] or 0)
	if m[1] == inc and call('HEXISTS', ks, '.') == 1 then
		return head(now, w, seq, epoch) .. pack('>BI6I6I8', 0, 0, base, fence) .. inc
	end
	local known_epoch, known_seq, lost = tonumber(a[1]), tonumber(a[2]), 0
	if not m[4] then
		seq = call('LLEN', k[3])
		w = call('LLEN', k[4]) + call('LLEN', k[5]) + call('LLEN', k[6]) + call('ZCARD', k[7])
		call('HSET', km, 'nb', 0, 'wb', 0)
	end
	if known_epoch >= epoch then lost = max(0, known_seq - seq) end
	base, epoch = max(base, now), max(epoch, known_epoch) + 1
	fence = max(fence, (now - FENCE_EPOCH) * FENCE_UNIT)
	call('HSET', km, 'inc', inc, 'ep', epoch, 'floor', base, 'seq', seq, 'fence', fence, 't', now, 'w', w)
	call('HSET', ks, '.', '1')
	return head(now, w, seq, epoch) .. pack('>BI6I6I8', 1, lost, base, fence) .. inc
end

-- m s i z q0 q1 q2 n f h · incarnation, node, max waiting, max bytes, skew ms, items. Item, 99 bytes: 1 id 17 the
-- record's first 54 bytes 71 state 72 idempotency_print 88 issued_at 94 start_at. extra = sequence.
local function accept(k, a)
	init()
	local km, ks, items = k[1], k[2], a[6]
	local m = call('HMGET', km, 'inc', 'seq', 'w', 'wb', 'floor', 'arm', 't', 'ep')
	if m[1] ~= a[1] or not fresh(a[1]) then return 'O' end
	local n, ids, idem, idem_at = #items / 99, {}, {}, {}
	for j = 1, n do
		local o = (j - 1) * 99
		ids[j] = sub(items, o + 1, o + 16)
		if byte(items, o + 70) == 1 then
			idem[#idem + 1] = sub(items, o + 54, o + 69)
			idem_at[j] = #idem
		end
	end
	local known = call('HMGET', ks, '.', tun(ids))
	if not known[1] then return 'O' end
	local firsts = #idem > 0 and call('HMGET', k[3], tun(idem)) or {}
	local first_ids, first_at = {}, {}
	for j = 1, #idem do
		if firsts[j] then
			first_ids[#first_ids + 1] = sub(firsts[j], 1, 16)
			first_at[j] = #first_ids
		end
	end
	local first_recs = #first_ids > 0 and call('HMGET', ks, tun(first_ids)) or {}
	local now = clock(m[7])
	local now6, seq, w, wb = pack('>I6', now), tonumber(m[2]), tonumber(m[3]), tonumber(m[4])
	local stale = tonumber(m[5]) + tonumber(a[5])
	local max_w, max_wb = tonumber(a[3]), tonumber(a[4])
	local new, new_idem, order, drop, q, z, h, f = {}, {}, {}, {}, {{}, {}, {}}, {}, {}, {}
	local mine, mine_idem, out = {}, {}, {}
	local base = sub(km, 1, -2)
	for j = 1, n do
		local o, id = (j - 1) * 99, ids[j]
		local rec = mine[id] or known[j + 1]
		local token = sub(items, o + 46, o + 53)
		local status, flags, named, shown = OK, 0, id, nil
		if rec and byte(rec, 1) == 65 then
			status = sub(rec, 40, 47) == token and DUPLICATE or REPLAYED
			flags = sub(rec, 26, 33) == sub(items, o + 26, o + 33) and 1 or 0
			named = sub(rec, 2, 17)
			shown = mine[named] or call('HGET', ks, named)
		elseif rec then
			shown = rec
			if sub(rec, 30, 37) ~= token then
				status, flags = REPLAYED, sub(rec, 10, 17) == sub(items, o + 26, o + 33) and 1 or 0
			end
		else
			local deadline, _, _, size = unpk('>I6BBI4', items, o + 34)
			local issued, start = unpk('>I6I6', items, o + 88)
			local key, first, first_id, first_rec
			if idem_at[j] then
				key = idem[idem_at[j]]
				first = mine_idem[key] or firsts[idem_at[j]]
				if first then
					first_id = sub(first, 1, 16)
					first_rec = mine[first_id] or first_recs[first_at[idem_at[j]] or 0]
				end
			end
			if issued <= stale then
				status = STALE
			elseif first_rec and sub(first, 17, 32) ~= sub(items, o + 72, o + 87) then
				status = CONFLICT
			elseif first_rec then
				status, named, shown = DUPLICATE, first_id, first_rec
				seq = seq + 1
				rec = 'A' .. first_id .. sub(items, o + 18, o + 33) .. now6 .. token
				mine[id] = rec
				new[#new + 1], new[#new + 2] = id, rec
				order[#order + 1], f[#f + 1] = id, id
			elseif w >= max_w or wb + size > max_wb then
				status = QUOTA
			else
				local state = byte(items, o + 71)
				seq, w, wb = seq + 1, w + 1, wb + size
				rec = sub(items, o + 17, o + 70) .. pack('>I6I6BI6', now, seq, state, now) .. INIT
				mine[id], shown = rec, rec
				new[#new + 1], new[#new + 2] = id, rec
				order[#order + 1] = id
				if key then
					local value = id .. sub(items, o + 72, o + 87)
					mine_idem[key] = value
					new_idem[#new_idem + 1], new_idem[#new_idem + 2] = key, value
				end
				if state == QUEUED then
					local c = q[class(rec)]
					c[#c + 1] = id
				elseif state == SCHEDULED then
					z[#z + 1], z[#z + 2] = deadline > 0 and min(start, deadline) or start, id
				else
					h[#h + 1], h[#h + 2] = now, id
					if deadline > 0 then z[#z + 1], z[#z + 2] = deadline, id end
				end
			end
		end
		if status ~= OK then drop[#drop + 1] = base .. 'b:' .. id .. token end
		entry(out, j, status, flags, named, shown)
	end
	if #new > 0 then
		call('HSET', ks, tun(new))
		if #new_idem > 0 then call('HSET', k[3], tun(new_idem)) end
		call('RPUSH', k[8], tun(order))
		push(k[5], q[1]) push(k[6], q[2]) push(k[7], q[3])
		if #z > 0 then call('ZADD', k[4], tun(z)) end
		if #h > 0 then call('ZADD', k[10], tun(h)) end
		if #f > 0 then call('RPUSH', k[9], now6 .. concat(f)) end
		call('HSET', km, 'seq', seq, 'w', w, 'wb', wb, 't', now)
		if m[6] and #q[1] + #q[2] + #q[3] > 0 then wake(km, m[6], a[2]) end
	end
	if #drop > 0 then call('UNLINK', tun(drop)) end
	return head(now, w, seq, m[8]) .. concat(out)
end

-- m s l q2 q1 q0 f · incarnation, node, bytes of tasks a call may lease, requests. Request, 14 bytes: max 2, owner 8, lease ms 4.
-- extra = 0 when the queues are empty now. Answer: for each request count 2, then id 16, record 119 each; one of state EXPIRED was past its deadline and is not leased.
local function lease(k, a)
	init()
	local km, ks, asked = k[1], k[2], a[4]
	local m = call('HMGET', km, 'inc', 'fence', 'w', 'wb', 't', 'arm', 'ep')
	if m[1] ~= a[1] or not fresh(a[1]) then return 'O' end
	local now, fence, w, wb = clock(m[5]), tonumber(m[2]), tonumber(m[3]), tonumber(m[4])
	local now6, budget, pops, dry = pack('>I6', now), tonumber(a[3]), 0, false
	local base, out, new, gone, at = sub(km, 1, -2), {}, {}, {}, 0
	for r = 1, #asked / 14 do
		local want, owner, ms = unpk('>I2c8I4', asked, (r - 1) * 14 + 1)
		want = min(want, 256) -- a hint counts its fences in one byte
		local till6, hint, first, n = pack('>I6', now + ms), {}, fence, 0
		at = at + 1
		local count_at = at
		while want > 0 and budget > 0 and not dry and pops < LIMIT_POPS do
			local popped = call('LMPOP', 3, k[4], k[5], k[6], 'LEFT', 'COUNT', want)
			if not popped then dry = true break end
			local key, ids = popped[1], popped[2]
			local recs = call('HMGET', ks, tun(ids))
			local back = {}
			pops = pops + #ids
			for j = 1, #ids do
				local id, rec = ids[j], recs[j]
				if rec and byte(rec, 67) == QUEUED and byte(rec, 1) == 82 then
					local deadline, _, _, size = unpk('>I6BBI4', rec, 18)
					local cursor = cursor_of(rec) + 1
					if deadline > 0 and deadline <= now then
						rec = with(rec, EXPIRED, now, cursor)
						gone[#gone + 1] = id
						w, wb, n = w - 1, wb - size, n + 1
						out[at + 1], out[at + 2], at = id, rec, at + 2
						new[#new + 1], new[#new + 2] = id, rec
					elseif budget <= 0 then
						back[#back + 1] = id
					else
						fence, budget, want = fence + 1, budget - size, want - 1
						local began = sub(rec, 114, 119)
						if began == ZERO6 then began = now6 end
						rec = sub(rec, 1, 66) .. pack('>BI6I4B', LEASED, now, cursor, 0) .. sub(rec, 79, 90)
							.. pack('>BI8', byte(rec, 91) + 1, fence) .. owner .. till6 .. began
						if cursor > 2 then log(base, id, rec, ZERO8, '') end
						hint[#hint + 1], hint[#hint + 2] = id, char(fence - first - 1)
						w, wb, n = w - 1, wb - size, n + 1
						out[at + 1], out[at + 2], at = id, rec, at + 2
						new[#new + 1], new[#new + 2] = id, rec
					end
				end
			end
			for j = #back, 1, -1 do call('LPUSH', key, back[j]) end
		end
		if #hint > 0 then call('ZADD', k[3], now + ms, pack('>I8', first) .. concat(hint)) end
		out[count_at] = pack('>I2', n)
	end
	if #new > 0 then
		call('HSET', ks, tun(new))
		call('HSET', km, 'fence', fence, 'w', w, 'wb', wb, 't', now)
		if #gone > 0 then call('RPUSH', k[7], now6 .. concat(gone)) end
	end
	if dry and not find(' ' .. (m[6] or '') .. ' ', ' ' .. a[2] .. ' ', 1, true) and #(m[6] or '') < 2048 then
		call('HSET', km, 'arm', (m[6] and m[6] .. ' ' or '') .. a[2])
	end
	return head(now, w, dry and 0 or 1, m[7]) .. concat(out)
end

-- holder: fence and owner
local function leased(rec, holder)
	local state = byte(rec, 67)
	return state >= LEASED and state <= INPUT and sub(rec, 92, 107) == holder
end

local function load_items(ks, items, width)
	local ids = {}
	for j = 1, #items / width do ids[j] = sub(items, (j - 1) * width + 1, (j - 1) * width + 16) end
	local recs, by = call('HMGET', ks, tun(ids)), {}
	for j = 1, #ids do
		if recs[j] and byte(recs[j], 1) == 82 then by[ids[j]] = recs[j] end
	end
	return ids, by
end

local function save(ks, dirty, by)
	local new = {}
	for id in pairs(dirty) do new[#new + 1], new[#new + 2] = id, by[id] end
	if #new > 0 then call('HSET', ks, tun(new)) end
end

-- m s · items. Item, 36 bytes: 1 id 17 fence 25 owner 33 lease ms.
local function extend(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w')
	local ids, by = load_items(k[2], a[1], 36)
	local now, out, dirty = clock(m[1]), {}, {}
	for j = 1, #ids do
		local o, id, status = (j - 1) * 36, ids[j], OK
		local rec = by[id]
		if not rec then
			status = NOT_FOUND
		elseif not leased(rec, sub(a[1], o + 17, o + 32)) then
			status = LOST
		else
			rec = sub(rec, 1, 107) .. pack('>I6', now + unpk('>I4', a[1], o + 33)) .. sub(rec, 114)
			by[id], dirty[id] = rec, true
		end
		entry(out, j, status, 0, id, rec)
	end
	save(k[2], dirty, by)
	return head(now, tonumber(m[2] or 0), 0) .. concat(out)
end

-- Tokens of one store count up: a report with the same first half and a number not above the record's was written before.
local function seen(rec, token)
	local last = sub(rec, 79, 86)
	if last == token then return true end
	if sub(last, 1, 4) ~= sub(token, 1, 4) then return false end
	local behind = (unpk('>I4', last, 5) - unpk('>I4', token, 5)) % 4294967296
	return behind < 1048576
end

-- m s · items, bodies. Item, 46 bytes: 1 id 17 fence 25 owner 33 state (0 as it is) 34 max_events 38 token 46 repeat.
local function event(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w')
	local ids, by = load_items(k[2], a[1], 46)
	local now, out, dirty = clock(m[1]), {}, {}
	local base = sub(k[1], 1, -2)
	for j = 1, #ids do
		local o, id, status = (j - 1) * 46, ids[j], OK
		local rec, token = by[id], sub(a[1], o + 38, o + 45)
		if not rec then
			status = NOT_FOUND
		elseif byte(a[1], o + 46) == 1 and seen(rec, token) then
			status = OK
		elseif not leased(rec, sub(a[1], o + 17, o + 32)) then
			status = LOST
		else
			local state, limit = unpk('>BI4', a[1], o + 33)
			local cursor = cursor_of(rec)
			if cursor >= limit then
				status = QUOTA
			else
				rec = with(rec, state == 0 and byte(rec, 67) or state, now, cursor + 1, nil, token)
				log(base, id, rec, token, a[1 + j])
				by[id], dirty[id] = rec, true
			end
		end
		entry(out, j, status, 0, id, rec)
	end
	save(k[2], dirty, by)
	return head(now, tonumber(m[2] or 0), 0) .. concat(out)
end

-- m s z q0 q1 q2 f d x · node, items, bodies. Item, 50 bytes: 1 id 17 fence 25 owner 33 kind 34 delay 38 token 46 size
-- 50 where the body is (0 none, 1 MSET beside the call, 2 the next argument).
local function finish(k, a)
	init()
	local km, ks, items = k[1], k[2], a[2]
	local m = call('HMGET', km, 't', 'w', 'wb', 'arm')
	local ids, by = load_items(ks, items, 50)
	local now, w, wb = clock(m[1]), tonumber(m[2] or 0), tonumber(m[3] or 0)
	local now6, base, moved, next_body = pack('>I6', now), sub(km, 1, -2), false, 3
	local out, dirty, done, drop, queued, q = {}, {}, {}, {}, 0, {{}, {}, {}}
	for j = 1, #ids do
		local o, id, status = (j - 1) * 50, ids[j], OK
		local rec, kind, delay, token, size, where = by[id], unpk('>BI4c8I4B', items, o + 33)
		local body = ''
		if where == 2 then
			body, next_body = a[next_body], next_body + 1
		end
		local holder = sub(items, o + 17, o + 32)
		local late = rec and byte(rec, 67) == QUEUED and byte(rec, 78) == 0 and sub(rec, 92, 107) == holder
			and sub(rec, 92, 99) ~= ZERO8
		if not rec then
			status = NOT_FOUND
		elseif sub(rec, 79, 86) == token then
			status = OK
		elseif not late and not leased(rec, holder) then
			status = LOST
		else
			local cursor, attempt, state = cursor_of(rec) + 1, byte(rec, 91), FINISH_STATE[kind]
			local task = size_of(rec)
			if late then w, wb, moved = w - 1, wb - task, true end
			if kind == RELEASE and cursor < LIMIT_EVENTS then
				attempt = max(attempt - 1, 0)
			elseif (kind == RETRY or kind == RELEASE) and attempt >= byte(rec, 25) then
				state = DEAD
			end
			if state then
				rec = with(rec, state, now, cursor, nil, token, size)
				if where == 2 then call('SET', base .. 'b:' .. id .. token, body) end
				if state == DEAD then call('ZADD', k[8], now, id) else done[#done + 1] = id end
			elseif kind == QUARANTINE then
				rec = with(rec, QUARANTINED, now, cursor, nil, token)
				log(base, id, rec, token, body)
				call('ZADD', k[9], now, id)
			else
				rec = with(rec, QUEUED, now, cursor, 2, token, nil, attempt)
				log(base, id, rec, token, body)
				rec = sub(rec, 1, 99) .. ZERO8 .. sub(rec, 108)
				w, wb, moved = w + 1, wb + task, true
				if late then
					queued = queued + 1 -- it stands in its queue since the lapse
				elseif delay > 0 then
					call('ZADD', k[3], now + delay, id)
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
	save(ks, dirty, by)
	push(k[4], q[1]) push(k[5], q[2]) push(k[6], q[3])
	if #done > 0 then call('RPUSH', k[7], now6 .. concat(done)) end
	if moved then call('HSET', km, 'w', w, 'wb', wb, 't', now) end
	if queued > 0 then wake(km, m[4], a[1]) end
	if #drop > 0 then call('UNLINK', tun(drop)) end
	return head(now, w, 0) .. concat(out)
end

-- m s z f h · items, bodies. Item, 29 bytes: 1 id 17 token 25 size 29 where the body is. A cancelled id in a queue is skipped there.
local function cancel(k, a)
	init()
	local km, ks, items = k[1], k[2], a[1]
	local m = call('HMGET', km, 't', 'w', 'wb')
	local now, w, wb = clock(m[1]), tonumber(m[2] or 0), tonumber(m[3] or 0)
	local now6, base, next_body, out, moved = pack('>I6', now), sub(km, 1, -2), 2, {}, false
	for j = 1, #items / 29 do
		local o = (j - 1) * 29
		local asked, token, size, where = unpk('>c16c8I4B', items, o + 1)
		local id, rec = find_record(ks, asked, call('HGET', ks, asked))
		local body, status = '', OK
		if where == 2 then
			body, next_body = a[next_body], next_body + 1
		end
		local state = rec and byte(rec, 67)
		if not rec then
			status = NOT_FOUND
		elseif sub(rec, 79, 86) == token then
			status = OK
		elseif state >= QUARANTINED or id ~= asked and where > 0 then
			-- A body is sealed for the id asked for, so it cannot serve another.
			status = WRONG
		else
			local marks = 0
			if state < LEASED then
				w, wb, moved = w - 1, wb - size_of(rec), true
				call('ZREM', k[3], id)
				if state == HELD then call('ZREM', k[5], id) end
			else
				marks = 1
			end
			if where == 2 then call('SET', base .. 'b:' .. id .. token, body) end
			rec = with(rec, CANCELLED, now, cursor_of(rec) + 1, marks, token, size)
			call('HSET', ks, id, rec)
			call('RPUSH', k[4], now6 .. id)
		end
		if where == 1 and status ~= OK then call('UNLINK', base .. 'b:' .. asked .. token) end
		entry(out, j, status, 0, id, rec)
	end
	if moved then call('HSET', km, 'w', w, 'wb', wb, 't', now) end
	return head(now, w, 0) .. concat(out)
end

-- m s z h x · ids. What does not open is taken out of circulation; a terminal record stays as it is.
local function quarantine(k, a)
	init()
	local km, ks = k[1], k[2]
	local m = call('HMGET', km, 't', 'w', 'wb')
	local now, w, wb = clock(m[1]), tonumber(m[2] or 0), tonumber(m[3] or 0)
	local base, out = sub(km, 1, -2), {}
	local ids, by = load_items(ks, a[1], 16)
	for j = 1, #ids do
		local id = ids[j]
		local rec = by[id]
		if rec and byte(rec, 67) < QUARANTINED then
			if byte(rec, 67) < LEASED then
				w, wb = w - 1, wb - size_of(rec)
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
	call('HSET', km, 'w', w, 'wb', wb, 't', now)
	return head(now, w, 0) .. concat(out)
end

-- m s · ids
local function get(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w')
	local out, ids = {}, {}
	for j = 1, #a[1] / 16 do ids[j] = sub(a[1], j * 16 - 15, j * 16) end
	local recs = call('HMGET', k[2], tun(ids))
	for j = 1, #ids do
		local id, rec = find_record(k[2], ids[j], recs[j])
		entry(out, j, rec and OK or NOT_FOUND, 0, id, rec)
	end
	return head(clock(m[1]), tonumber(m[2] or 0), 0) .. concat(out)
end

-- m s · id, after, max. Answer: an array of the usual string with one entry, then the events.
local function events(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w')
	local id, rec = find_record(k[2], a[1], call('HGET', k[2], a[1]))
	local out = {head(clock(m[1]), tonumber(m[2] or 0), 0) .. char(rec and OK or NOT_FOUND, 0) .. id .. (rec or NONE)}
	local key, after, left, bytes = sub(k[1], 1, -2) .. 'e:' .. id, tonumber(a[2]), tonumber(a[3]), 0
	local first = rec and call('LINDEX', key, 0)
	if not first then return out end
	local at = max(0, after - unpk('>I4', first, 8) + 1)
	while left > 0 and bytes < EVENT_BYTES do
		local some = call('LRANGE', key, at, at + min(left, 4) - 1)
		if #some == 0 then break end
		for j = 1, #some do
			if bytes > 0 and bytes + #some[j] > EVENT_BYTES then return out end
			out[#out + 1], bytes = some[j], bytes + #some[j]
		end
		left, at = left - #some, at + #some
	end
	return out
end

-- m s n · agent 8, state, before, max, bytes of blobs that may follow. extra = the position to go on before, 0 = the end.
local function list(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'nb')
	local base, before, want, budget = tonumber(m[3] or 0), tonumber(a[3]), tonumber(a[4]), tonumber(a[5])
	local state, out = tonumber(a[2]), {}
	local stop = base + call('LLEN', k[3])
	if before > 0 then stop = min(stop, before - 1) end
	local start, on, n = max(base + 1, stop - LIMIT_LOOK + 1), 0, 0
	local ids = stop >= start and call('LRANGE', k[3], start - base - 1, stop - base - 1) or {}
	local recs = #ids > 0 and call('HMGET', k[2], tun(ids)) or {}
	if start > base + 1 then on = start end
	for j = #ids, 1, -1 do
		local rec = recs[j]
		if rec and byte(rec, 1) == 82 and (state == 0 or byte(rec, 67) == state)
			and (a[1] == ZERO8 or sub(rec, 2, 9) == a[1] or sub(rec, 100, 107) == a[1]) then
			budget = budget - size_of(rec) - unpk('>I4', rec, 87)
			if n >= want or (budget < 0 and n > 0) then
				on = start + j
				break
			end
			n = n + 1
			entry(out, n, OK, 0, ids[j], sub(rec, 1, 60) .. pack('>I6', start + j - 1) .. sub(rec, 67))
		end
	end
	return head(clock(m[1]), tonumber(m[2] or 0), on) .. concat(out)
end

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
