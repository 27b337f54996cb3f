#!lua name=baton2
-- What does Redis do in one step? Everything that changes a slot {tenant/route}: this library is the only writer of its keys. Here is
-- what its parts share, and how work gets in and out (open, accept, lease); then baton2_hold.lua, baton2_publish.lua, baton2_report.lua,
-- baton2_read.lua, baton2_operate.lua, baton2_check.lua, baton2_shared.lua, baton2_aside.lua, baton2_rights.lua, baton2_tick.lua.
-- Rules kept: all checks come before the first write (Functions do not roll back); every Function is safe to repeat (tokens,
-- fences); loops are bounded by the number of ids handed in or by the LIMIT constants below. Payloads never come through here
-- but by exception: they are MSET beside the call. Binary strings are big-endian and fixed in width; record.c is the C side.
--
-- Keys: m hash, of the slot itself   s hash, id to record   i hash, idempotency to id and fingerprint   n zset, all ids by position
--   q0 q1 q2 lists, queued ids by class of priority   z zset, scheduled, backing off and deadlines of held ones, by time
--   h d x zsets, held, dead-lettered, quarantined   l zset, lease hints by time   f list, time and ids of what has ended
--   A broadcast route has beside its own slot one for each agent's inbox, with all of these keys under {tenant/route}:@agent:
-- In m: rev, the generation by which a node must live to take work in or hand it out (baton2_aside.lua); w and wb, handoffs that wait and their bytes; under a sender's 8 bytes number 4 and bytes 6 of what waits of it, if any does: in a
--   key of its own it would cost three commands more a call. In s under '#': bytes of all blobs that are kept, tasks and outcomes
--   b:<id><token> a sealed blob   e:<id> list, events   And what is no slot's: {/}:seal, {/}:node:<name> (baton2_tick.lua, join), and what
--   all nodes share: {/}:m {/}:s {/}:z {/}:n {/}:v:<name> (baton2_shared.lua)
--
-- Record, 119 bytes (positions count from 1); what changes together stands together, because every piece costs a string here:
--   1 'R'  2-9 sender  10-17 bytes_print  18-23 deadline  24 priority  25 max_attempts  26-29 size of the sealed task
--   30-37 token of the submission, part of the task blob's name  38-53 idempotency  54 flags (1: has it)
--   55-60 accepted_at  61-66 position
--   67 state  68-73 updated_at  74-77 cursor  78 marks (1 stop requested, 2 given back, 4 dead-lettered and let go of, 8 held since a
--   fail-over, 16 its sender has confirmed it since, 32 64 in quarantine: it waited for a time, or was held)
--   79-86 token of the last report, part of the outcome blob's name; of the submission when that leased it at once  87-90 size of the sealed outcome, 0 = none
--   91 attempt  92-99 fence  100-107 owner  108-113 lease_until, or when it was let go of or confirmed
--   114-119 first_leased_at
-- Alias, 47 bytes: 1 'A'  2-17 id of the first handoff  18-25 sender  26-33 bytes_print  34-39 accepted_at  40-47 token
-- Event: 1 state  2-7 at  8-11 cursor  12 attempt  13-20 owner  21-28 token  29- sealed body
-- Lease hint: fence before the first 8, then id 16 and number of the fence from there 1, counted from 0
-- Answer: 'O' (the slot must be opened) or 'K' now 6, waiting 6, their bytes 6, extra 6, epoch 4, then one entry an item:
--   status 1, flags 1 (accept over a cap: which one), id 16, record 119 (zeros when there is none)

local call, try, type_of, sub, byte, char, rep, find, match, gmatch, pack, unpk, tun, concat, floor, max, min
local NONE, ZERO6, ZERO8, INIT, ENDED, MARK

local QUEUED, LEASED, INPUT, QUARANTINED, SCHEDULED, HELD = 3, 4, 6, 7, 2, 1
local COMPLETED, CANCELLED, EXPIRED, DEAD = 10, 13, 14, 15
local OK, REPLAYED, DUPLICATE, CONFLICT, QUOTA, STALE, LOST, NOT_FOUND, WRONG, CLOSED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
local FINISH_STATE = {[0] = 10, [1] = 11, [2] = 12, [6] = 14}
local RETRY, RELEASE, QUARANTINE = 3, 4, 5
local OVER_SENDER, OVER_SENDER_BYTES, OVER_ROUTE, OVER_ROUTE_BYTES = 1, 2, 3, 4
local GIVEN_BACK, LET_GO, UNCONFIRMED, CONFIRMED = 2, 4, 8, 16
local spans_of, span_add, doubtful, set_aside, confirm -- baton2_hold.lua

local LIMIT_POPS = 1024      -- ids one lease call takes from the queues
local LIMIT_TICK = 256       -- ids of one kind that a tick looks at
local LIMIT_LOOK = 512       -- records a list looks at
local LIMIT_EVENTS = 2000    -- cursor from which a release costs an attempt: bounds the event list
local FENCE_UNIT, FENCE_EPOCH = 4096, 1577836800000 -- a fence is at least (ms since 2020) * 4096: stays under 2^53 until 2089
local SPARED_MS = 5000       -- after a slot was opened anew
local ITEM = 111             -- bytes of an item of accept
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
	ENDED = '\0\0\0\2' .. rep('\0', 42) -- of one that has ended as it is new
	MARK = {}
	for mark = 0, 127 do MARK[mark] = char(floor(mark / 8), mark % 8) end
	try, type_of = redis.pcall, type
	call = redis.call
end

local function clock(last)
	local t = call('TIME')
	return max(t[1] * 1000 + floor(t[2] / 1000), tonumber(last or 0))
end

local function fresh(inc)
	return find(call('INFO', 'replication'), 'master_replid:' .. inc .. '\r\n', 1, true)
end

local function head(now, w, wb, extra, epoch)
	return pack('>BI6I6I6I6I4', 75, now, max(tonumber(w or 0), 0), max(tonumber(wb or 0), 0), extra, tonumber(epoch or 0))
end

local function class(rec)
	local p = byte(rec, 24)
	if p < 4 then return 1 elseif p < 7 then return 2 end
	return 3
end

local function push(key, ids)
	if #ids > 0 then call('RPUSH', key, tun(ids)) end
end

-- A key of another type raises its error here, before the first write.
local SIZE = {h = 'HLEN', l = 'LLEN', z = 'ZCARD'}
local function probe(kinds, k)
	for j = 1, #kinds do call(SIZE[sub(kinds, j, j)], k[j]) end
end

local function need(command, key, list)
	if #list > 0 then call(command, key) end
end

-- What ended now is kept for a while.
local function ended(key, now, ids)
	for j = 1, #ids, 256 do call('RPUSH', key, pack('>I6', now) .. concat(ids, '', j, min(j + 255, #ids))) end
end

local function whole(rec)
	return rec and #rec == 119 and byte(rec, 1) == 82
end

-- Tells the nodes that found nothing to lease; the caller's own node wakes itself.
local function wake(km, arm, me)
	if not arm then return end
	for node in gmatch(arm, '%S+') do
		if node ~= me then try('PUBLISH', 'baton:wake:' .. node, km) end
	end
	call('HDEL', km, 'arm')
end

-- The record with another state; nil keeps a field.
local function with(rec, state, now, cursor, marks, token, osize, attempt)
	return sub(rec, 1, 66)
		.. pack('>BI6I4Bc8I4', state, now, cursor, marks or byte(rec, 78), token or sub(rec, 79, 86), osize or (unpk('>I4', rec, 87)))
		.. (attempt and char(attempt) .. sub(rec, 92) or sub(rec, 91))
end

local function has(rec, mark)
	return floor(byte(rec, 78) / mark) % 2 == 1
end

-- When a lease lapses. What is older than the slot's opening is spared for a while: who holds it could not renew it.
local function lapses_at(rec, opened)
	local till = unpk('>I6', rec, 108)
	return unpk('>I6', rec, 68) < opened and max(till, opened + SPARED_MS) or till
end

local function cursor_of(rec)
	return (unpk('>I4', rec, 74))
end

local function size_of(rec)
	return (unpk('>I4', rec, 26))
end

-- Writes down an event that is neither the first, the first lease nor the last; rec is how the record is after it. A list that is
-- none any more must not hold up the work itself: false.
local function log(base, id, rec, token, body)
	return type_of(try('RPUSH', base .. 'e:' .. id, sub(rec, 67, 77) .. sub(rec, 91, 91) .. sub(rec, 100, 107) .. token .. body)) == 'number'
end

-- Its sender confirmed it then, and it was queued again.
local function queued_at(rec, at)
	return byte(rec, 67) == QUEUED and has(rec, CONFIRMED) and sub(rec, 68, 73) == at
end

-- Follows an alias. Returns id, record; record false when there is none.
local function find_record(ks, id, rec)
	if rec and byte(rec, 1) == 65 then
		id = sub(rec, 2, 17)
		rec = call('HGET', ks, id)
	end
	return id, whole(rec) and rec
end

-- Entry j of an answer. Three pieces that exist already cost less than one new string.
local function entry(out, j, status, flags, id, rec)
	out[3 * j - 2], out[3 * j - 1], out[3 * j] = MARK[8 * status + flags], id, rec and #rec == 119 and rec or NONE
end

-- A counter that is none counts from 0: that must not show after the first write.
local function number(v)
	return tonumber(v or 0) or 0
end

-- What waits, of the slot and of each sender, as a call changes it: who has the senders in question, n and b by how much.
local function tally(w, wb)
	return {w = number(w), wb = number(wb), who = {}, n = {}, b = {}}
end

-- One more waits (1), or one less (-1).
local function waits(t, rec, by)
	local who, size = sub(rec, 2, 9), by * size_of(rec)
	local n = t.n[who]
	t.w, t.wb = t.w + by, t.wb + size
	if n then
		t.n[who], t.b[who] = n + by, t.b[who] + size
	else
		t.who[#t.who + 1], t.n[who], t.b[who] = who, by, size
	end
end

-- Number and bytes, as m has them.
local function share(v)
	if not v or #v ~= 10 then return 0, 0 end
	return unpk('>I4I6', v)
end

-- Brings m up to date, with what else is to be set there.
local function settle(km, t, now, ...)
	if #t.who == 0 then return end
	local was, set, gone = call('HMGET', km, tun(t.who)), {'w', t.w, 'wb', t.wb, 't', now, ...}, {}
	for j = 1, #t.who do
		local who, n, b = t.who[j], share(was[j])
		n, b = n + t.n[who], max(b + t.b[who], 0)
		if n > 0 then
			set[#set + 1], set[#set + 2] = who, pack('>I4I6', n, b)
		elseif was[j] then
			gone[#gone + 1] = who
		end
	end
	call('HSET', km, tun(set))
	if #gone > 0 then call('HDEL', km, tun(gone)) end
end

-- What waits, counted anew after damage: exactly for the first LIMIT_POPS ids of each place.
local function recount(k)
	local t, seen = tally(), {}
	for j = 4, 8 do
		local range, size = 'LRANGE', 'LLEN'
		if j > 6 then range, size = 'ZRANGE', 'ZCARD' end
		local ids = call(range, k[j], 0, LIMIT_POPS - 1)
		local recs = #ids > 0 and call('HMGET', k[2], tun(ids)) or {}
		for n = 1, #ids do
			if whole(recs[n]) and byte(recs[n], 67) < LEASED and not seen[ids[n]] then
				seen[ids[n]] = true
				waits(t, recs[n], 1)
			end
		end
		t.w = t.w + call(size, k[j]) - #ids
	end
	return t
end

-- While `paused` is '1' nothing is leased; an operator takes it away. 2: it was set, because too many are lost.
local function pause_if(km, lost, limit)
	if lost <= tonumber(limit) then return 0 end
	call('HSET', km, 'paused', '1')
	return 2
end

-- Of senders m holds nothing but what t counted.
local function set_senders(km, t)
	local fields = call('HKEYS', km)
	for j = 1, #fields do
		if #fields[j] == 8 and not t.n[fields[j]] then call('HDEL', km, fields[j]) end
	end
	for j = 1, #t.who do call('HSET', km, t.who[j], pack('>I4I6', t.n[t.who[j]], t.b[t.who[j]])) end
end

-- m s n q0 q1 q2 z h · remembered epoch, remembered sequence, how many may be lost, a token of who asks, ms of holding. Answer: 'K' header with
-- extra = sequence, then flags 1 (1 opened anew, 2 paused now), lost 6, floor 6, fence 8, from 6, to 6, incarnation 40. Another incarnation, or
-- none, moves the floor to now and lifts the fences. Who asks later and remembers more than the first did hears of the rest that is lost, once;
-- asked again because the answer was lost, the same again. Is more lost than may be, the slot is paused: what came back may be an old copy, in
-- which finished work waits. From and to: keyed work that was accepted between the two is held (baton2_hold.lua); zeros: none is.
local function open(k, a)
	init()
	local km, ks = k[1], k[2]
	probe('hhzlllzz', k)
	local server = call('INFO', 'replication')
	local inc = match(server, 'master_replid:(%x+)')
	local m = call('HMGET', km, 'inc', 'ep', 'floor', 'seq', 'fence', 't', 'w', 'wb', 'found', 'lost', 'told', 'hold')
	local now = clock(m[6])
	local base, fence = tonumber(m[3] or 0), tonumber(m[5] or 0)
	local epoch, w, wb = tonumber(m[2] or 0), tonumber(m[7] or 0), tonumber(m[8] or 0)
	local seq = tonumber(m[4] or call('ZREVRANGE', k[3], 0, 0, 'WITHSCORES')[2] or 0)
	local known_epoch, known_seq, lost = tonumber(a[1]), tonumber(a[2]), 0
	local marked = call('HEXISTS', ks, '.') == 1
	if m[1] == inc and marked then
		if known_epoch ~= epoch then lost = max(0, known_seq - (known_epoch < epoch and tonumber(m[9] or seq) or seq)) end
		if lost > tonumber(m[10] or 0) then
			call('HSET', km, 'lost', lost, 'told', a[4])
		elseif m[11] ~= a[4] then
			lost = 0
		end
		return head(now, w, wb, seq, epoch) .. pack('>BI6I6I8I6I6', pause_if(km, lost, a[3]), lost, base, fence, 0, 0) .. inc
	end
	if known_epoch >= epoch then lost = max(0, known_seq - seq) end
	base, epoch = max(base, now), max(epoch, known_epoch) + 1
	fence = max(fence, (now - FENCE_EPOCH) * FENCE_UNIT)
	local span, from, to = span_add(m[12], server, m[1] == inc or seq == 0, lost, now, m[6], fence, a[5])
	if call('HLEN', ks) == 0 then
		w, wb = 0, 0
		call('UNLINK', k[3], k[4], k[5], k[6], k[7], k[8])
		set_senders(km, tally())
	elseif not (m[4] and m[7] and m[8] and marked) then
		local t = recount(k)
		w, wb = t.w, t.wb
		set_senders(km, t)
	end
	call('HSET', km, 'inc', inc, 'ep', epoch, 'floor', base, 'seq', seq, 'fence', fence, 't', now + 1, 'w', w, 'wb', wb,
		'found', seq, 'lost', lost, 'told', a[4], 'hold', span)
	call('HSET', ks, '.', '1')
	return head(now, w, wb, seq, epoch) .. pack('>BI6I6I8I6I6', 1 + pause_if(km, lost, a[3]), lost, base, fence, from, to) .. inc
end

-- The slot must be opened first, or the node is behind (answer 'R'). Blobs come again with the repeat; if there is none, nobody would remove them. One
-- that a record names was accepted before.
local function closed(base, ks, items, answer)
	local drop = {}
	for o = 0, #items - ITEM, ITEM do
		local id, token = sub(items, o + 1, o + 16), sub(items, o + 46, o + 53)
		local rec = call('HGET', ks, id)
		if not rec or sub(rec, 30, 37) ~= token then drop[#drop + 1] = base .. 'b:' .. id .. token end
	end
	if #drop > 0 then call('UNLINK', tun(drop)) end
	return answer or 'O'
end

-- m s i z q0 q1 q2 n f h l [d] · incarnation, node, max waiting, max bytes, the same of one sender, skew ms, items, generation that the node lives by. Item, 111 bytes: 1 id 17 the
-- record's first 54 bytes 71 state 72 idempotency_print 88 issued_at 94 start_at 100 owner 108 lease ms. extra = sequence.
-- What would be queued while nothing waits is leased at once to its item's owner, if it has one and the route is not paused: first in,
-- first out holds. a.known: the caller has found that this server is the one, and the node not behind. 'R': it is behind, and nothing was done.
local function accept(k, a)
	init()
	local km, ks, items = k[1], k[2], a[8]
	local base = sub(km, 1, -2)
	local n, ids, idem, idem_at = #items / ITEM, {}, {}, {}
	local from, who, of_n, of_b, grew = {}, {}, {}, {}, {}
	for j = 1, n do
		local o = (j - 1) * ITEM
		local sender = sub(items, o + 18, o + 25)
		ids[j], from[j] = sub(items, o + 1, o + 16), sender
		if not of_n[sender] then who[#who + 1], of_n[sender] = sender, 0 end
		if byte(items, o + 70) == 1 then
			idem[#idem + 1] = sub(items, o + 54, o + 69)
			idem_at[j] = #idem
		end
	end
	local m = call('HMGET', km, 'inc', 'seq', 'w', 'wb', 'floor', 'arm', 't', 'ep', 'fence', 'closed', 'paused', 'hold', 'rev', tun(who))
	if m[1] ~= a[1] or not (a.known or fresh(a[1])) then return closed(base, ks, items) end
	if m[13] and not a.known and number(a[9]) < number(m[13]) then return closed(base, ks, items, 'R') end
	for j = 1, #who do of_n[who[j]], of_b[who[j]] = share(m[13 + j]) end
	local known = call('HMGET', ks, '.', '#', tun(ids))
	if not known[1] then return closed(base, ks, items) end
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
	local stale, kb = tonumber(m[5]) + tonumber(a[7]), number(known[2])
	local max_w, max_wb, max_n, max_b = tonumber(a[3]), tonumber(a[4]), tonumber(a[5]), tonumber(a[6])
	local new, new_idem, order, drop, q, z, h, f, d = {}, {}, {}, {}, {{}, {}, {}}, {}, {}, {}, {}
	local mine, mine_idem, out = {}, {}, {}
	local spans, sure, logs = spans_of(m[12]), {}, {}
	local at_once = m[9] and not m[11] and call('LLEN', k[5]) + call('LLEN', k[6]) + call('LLEN', k[7]) == 0
	local fences, lease_ms, hint = tonumber(m[9] or 0), nil, {} -- the fence before the first of these
	local fence = fences
	for j = 1, n do
		local o, id, sender = (j - 1) * ITEM, ids[j], from[j]
		local rec = mine[id] or known[j + 2]
		local token = sub(items, o + 46, o + 53)
		local status, flags, named, shown = OK, 0, id, nil
		if rec and byte(rec, 1) == 65 then
			status = sub(rec, 40, 47) == token and DUPLICATE or REPLAYED
			flags = sub(rec, 26, 33) == sub(items, o + 26, o + 33) and 1 or 0
			named = sub(rec, 2, 17)
			shown = mine[named] or call('HGET', ks, named)
			if status == DUPLICATE and whole(shown) and queued_at(shown, sub(rec, 34, 39)) then flags = 2 end
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
				order[#order + 1], order[#order + 2], f[#f + 1] = seq, id, id
				local again, held = confirm(spans, first_rec, now)
				if again then
					shown, mine[first_id] = again, again
					new[#new + 1], new[#new + 2] = first_id, again
				end
				if held then
					local c = q[class(again)]
					c[#c + 1], sure[#sure + 1], logs[#logs + 1] = first_id, first_id, again
					flags, at_once = 2, false
				end
			elseif m[10] then
				status = CLOSED
			elseif of_n[sender] >= max_n then
				status, flags = QUOTA, OVER_SENDER
			elseif of_b[sender] + size > max_b then
				status, flags = QUOTA, OVER_SENDER_BYTES
			elseif w >= max_w then
				status, flags = QUOTA, OVER_ROUTE
			elseif wb + size > max_wb then
				status, flags = QUOTA, OVER_ROUTE_BYTES
			else
				local state = byte(items, o + 71)
				local owner, ms = unpk('>c8I4', items, o + 100)
				seq, kb = seq + 1, kb + size
				if at_once and state == QUEUED and owner ~= ZERO8 and (lease_ms or ms) == ms and (deadline == 0 or deadline > now) then
					state, lease_ms, fence = LEASED, ms, fence + 1
					hint[#hint + 1], hint[#hint + 2] = id, char(fence - fences - 1)
					rec = sub(items, o + 17, o + 70)
						.. pack('>I6I6BI6I4Bc8I4BI8c8I6I6', now, seq, LEASED, now, 2, 0, token, 0, 1, fence, owner, now + ms, now)
				elseif state > QUARANTINED then
					rec = sub(items, o + 17, o + 70) .. pack('>I6I6BI6', now, seq, state, now) .. ENDED
				else
					at_once = at_once and state ~= QUEUED
					w, wb = w + 1, wb + size
					of_n[sender], of_b[sender], grew[sender] = of_n[sender] + 1, of_b[sender] + size, true
					rec = sub(items, o + 17, o + 70) .. pack('>I6I6BI6', now, seq, state, now) .. INIT
				end
				mine[id], shown = rec, rec
				new[#new + 1], new[#new + 2] = id, rec
				order[#order + 1], order[#order + 2] = seq, id
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
				elseif state == HELD then
					h[#h + 1], h[#h + 2] = now, id
					if deadline > 0 then z[#z + 1], z[#z + 2] = deadline, id end
				elseif state == DEAD then
					d[#d + 1], d[#d + 2] = now, id
				elseif state ~= LEASED then
					f[#f + 1] = id
				end
			end
		end
		if status ~= OK then drop[#drop + 1] = base .. 'b:' .. id .. token end
		entry(out, j, status, flags, named, shown)
	end
	need('ZCARD', k[4], z) need('LLEN', k[5], q[1]) need('LLEN', k[6], q[2]) need('LLEN', k[7], q[3])
	need('ZCARD', k[8], order) need('LLEN', k[9], f) need('ZCARD', k[10], h) need('ZCARD', k[11], hint)
	need('ZCARD', k[12], d) need('ZCARD', k[4], sure) need('ZCARD', k[10], sure)
	if #new > 0 then
		new[#new + 1], new[#new + 2] = '#', kb
		call('HSET', ks, tun(new))
		if #new_idem > 0 then call('HSET', k[3], tun(new_idem)) end
		call('ZADD', k[8], tun(order))
		for j = 1, #sure do log(base, sure[j], logs[j], ZERO8, '') end
		if #sure > 0 then
			call('ZREM', k[4], tun(sure))
			call('ZREM', k[10], tun(sure))
		end
		push(k[5], q[1]) push(k[6], q[2]) push(k[7], q[3])
		if #z > 0 then call('ZADD', k[4], tun(z)) end
		if #h > 0 then call('ZADD', k[10], tun(h)) end
		if #d > 0 then call('ZADD', k[12], tun(d)) end
		ended(k[9], now, f)
		local set = {'seq', seq, 'w', w, 'wb', wb, 't', now}
		if #hint > 0 then
			call('ZADD', k[11], now + lease_ms, pack('>I8', fences) .. concat(hint))
			set[9], set[10] = 'fence', fence
		end
		for sender in pairs(grew) do set[#set + 1], set[#set + 2] = sender, pack('>I4I6', of_n[sender], of_b[sender]) end
		call('HSET', km, tun(set))
		if m[6] and #q[1] + #q[2] + #q[3] > 0 then wake(km, m[6], a[2]) end
	end
	if #drop > 0 then call('UNLINK', tun(drop)) end
	return head(now, w, wb, seq, m[8]) .. concat(out)
end

-- m s l q2 q1 q0 f z h [m of the route whose inbox this is] · incarnation, node, bytes of tasks a call may lease, requests, generation that the node lives by ('R': it is behind). Request, 14 bytes: max 2,
-- owner 8, lease ms 4. A route that is paused, or not opened yet, hands nothing out of its inboxes. extra = 0 when the queues are empty now, 2
-- when the route is paused: then nothing is leased. Answer: for each request count 2, then id 16, record 119 each; one of state EXPIRED was past its
-- deadline and is not leased, nor is one that is HELD now.
local function lease(k, a)
	init()
	local km, ks, asked = k[1], k[2], a[4]
	local m = call('HMGET', km, 'inc', 'fence', 'w', 'wb', 't', 'arm', 'ep', 'paused', 'hold', 'rev')
	if m[1] ~= a[1] or not fresh(a[1]) then return 'O' end
	if number(a[5]) < number(m[10]) then return 'R' end
	local of = k[10] and call('HMGET', k[10], 'inc', 'paused') or m
	if k[10] then m[8] = m[8] or of[2] end
	local now, fence, t = clock(m[5]), tonumber(m[2]), tally(m[3], m[4])
	local now6, budget, pops, dry = pack('>I6', now), tonumber(a[3]), 0, false
	local base, out, new, gone, at = sub(km, 1, -2), {}, {}, {}, 0
	local spans, h, z = spans_of(m[9]), {}, {}
	local left = (m[8] or of[1] ~= a[1]) and 0 or call('LLEN', k[4]) + call('LLEN', k[5]) + call('LLEN', k[6])
	if left > 0 then call('HLEN', ks) call('ZCARD', k[3]) call('LLEN', k[7]) end
	if left > 0 and #spans > 0 then call('ZCARD', k[8]) call('ZCARD', k[9]) end
	for r = 1, #asked / 14 do
		local want, owner, ms = unpk('>I2c8I4', asked, (r - 1) * 14 + 1)
		want = min(want, 256) -- a hint counts its fences in one byte
		local till6, hint, first, n = pack('>I6', now + ms), {}, fence, 0
		at = at + 1
		local count_at = at
		while want > 0 and budget > 0 and not dry and pops < LIMIT_POPS do
			if left == 0 then dry = true break end
			local popped = call('LMPOP', 3, k[4], k[5], k[6], 'LEFT', 'COUNT', min(want, LIMIT_POPS - pops))
			local key, ids = popped[1], popped[2]
			local recs = call('HMGET', ks, tun(ids))
			local back = {}
			pops, left = pops + #ids, left - #ids
			for j = 1, #ids do
				local id, rec = ids[j], recs[j]
				if whole(rec) and byte(rec, 67) == QUEUED then
					local deadline, _, _, size = unpk('>I6BBI4', rec, 18)
					local cursor = cursor_of(rec) + 1
					if deadline > 0 and deadline <= now then
						rec = with(rec, EXPIRED, now, cursor)
						gone[#gone + 1] = id
						waits(t, rec, -1)
						out[at + 1], out[at + 2], at, n = id, rec, at + 2, n + 1
						new[#new + 1], new[#new + 2] = id, rec
					elseif doubtful(spans, rec) then
						rec = set_aside(rec, now)
						h[#h + 1], h[#h + 2], want = now, id, want - 1
						if deadline > 0 then z[#z + 1], z[#z + 2] = deadline, id end
						log(base, id, rec, ZERO8, '')
						out[at + 1], out[at + 2], at, n = id, rec, at + 2, n + 1
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
						waits(t, rec, -1)
						out[at + 1], out[at + 2], at, n = id, rec, at + 2, n + 1
						new[#new + 1], new[#new + 2] = id, rec
					end
				end
			end
			left = left + #back
			for j = #back, 1, -1 do call('LPUSH', key, back[j]) end
		end
		if #hint > 0 then call('ZADD', k[3], now + ms, pack('>I8', first) .. concat(hint)) end
		out[count_at] = pack('>I2', n)
	end
	if #new > 0 then
		call('HSET', ks, tun(new))
		settle(km, t, now, 'fence', fence)
		ended(k[7], now, gone)
	end
	if #z > 0 then call('ZADD', k[8], tun(z)) end
	if #h > 0 then call('ZADD', k[9], tun(h)) end
	if dry and not find(' ' .. (m[6] or '') .. ' ', ' ' .. a[2] .. ' ', 1, true) and #(m[6] or '') < 2048 then
		call('HSET', km, 'arm', (m[6] and m[6] .. ' ' or '') .. a[2])
	end
	return head(now, t.w, t.wb, m[8] and 2 or dry and 0 or 1, m[7]) .. concat(out)
end
