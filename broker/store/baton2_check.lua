-- What in a slot belongs nowhere, and where does it belong? An operator's check looks, at a bounded part a call (look), and judges each
-- suspect again, alone and exactly, before it is told of or put right (mend). Part of the library that begins in baton2.lua.

local LOOK_SCAN = 96     -- elements a look asks a scan for
local LOOK_WINDOW = 1024 -- queued ids in one look
local ZERO16

local fault, repair = {}, {} -- by number, as in store.h; repair[9] stands beside what forgets
-- Of them, those that a record of this state may show.
local SHOWS = {[0] = {9}, {1, 4, 5, 10}, {1, 3, 10}, {1, 2, 10}, {1, 6, 10}, {1, 6, 10}, {1, 6, 10}, {7, 10}, [DEAD] = {8, 9, 10}}
local SHOWS_ENDED = {9, 10}

local function alias(rec)
	return rec and #rec == 47 and byte(rec, 1) == 65
end

local function state_of(rec)
	return whole(rec) and byte(rec, 67) or 0
end

local function time_at(rec, at)
	return (unpk('>I6', rec, at))
end

-- k: all of the slot's keys.
local function checker(k, now, keep)
	ZERO16 = ZERO8 .. ZERO8
	return {k = k, m = k[1], s = k[2], i = k[3], z = k[4], l = k[5], q = {k[6], k[7], k[8]}, n = k[9], f = k[10], d = k[11], x = k[12], h = k[13],
		base = sub(k[1], 1, -2), now = now, keep = keep}
end

-- c.score, of a look: what was asked for all its ids at once.
local function lacks(c, key, id)
	local known = c.score and c.score[key]
	if known then return not known[id] end
	return not call('ZSCORE', key, id)
end

local function ask_scores(c, key, ids)
	local got, known = #ids > 0 and call('ZMSCORE', key, tun(ids)) or {}, {}
	for j = 1, #ids do known[ids[j]] = got[j] end
	c.score[key] = known
end

-- What ended then should be forgotten by now, and the first that will be forgotten ended later: it is not among them.
local function left_behind(c, at)
	if at + c.keep >= c.now then return false end
	c.first_end = c.first_end or {call('LINDEX', c.f, 0)}
	local first = c.first_end[1]
	return not first or #first > 6 and unpk('>I6', first, 1) > at
end

-- Since when it waits to be forgotten; nil: it does not.
local function end_of(rec, state)
	if alias(rec) then return time_at(rec, 34) end
	if state == DEAD then return has(rec, LET_GO) and time_at(rec, 108) or nil end
	return state > QUARANTINED and time_at(rec, 68) or nil
end

local function hint_of(id, rec)
	return pack('>I8', unpk('>I8', rec, 92) - 1) .. id .. '\0'
end

-- A hint is due no later than the lease that it tells of ends: none of those that are left tells of this one, but for that of a repair.
local function untold(c, id, rec)
	c.first_hint = c.first_hint or call('ZRANGE', c.l, 0, 0, 'WITHSCORES')
	c.opened = c.opened or number(call('HGET', c.m, 'floor'))
	local first, till = c.first_hint, lapses_at(rec, c.opened)
	return till <= c.now and (not first[1] or tonumber(first[2]) > till) and lacks(c, c.l, hint_of(id, rec))
end

local function queued(c, id)
	for j = 1, 3 do
		if call('LPOS', c.q[j], id) then return true end
	end
	return false
end

-- A record names this blob.
local function names(rec, token)
	return whole(rec) and (sub(rec, 30, 37) == token or sub(rec, 79, 86) == token and sub(rec, 87, 90) ~= '\0\0\0\0')
end

local function task_of(c, id, rec)
	return c.base .. 'b:' .. id .. sub(rec, 30, 37)
end

fault[1] = function(c, id, rec, state) -- its task is gone
	return not c.all_tasks and state > 0 and state < QUARANTINED and call('EXISTS', task_of(c, id, rec)) == 0
end
fault[2] = function(c, id, rec, state) -- in no queue. A look leaves that to who has read the queues, which tell nothing of what came since
	if state ~= QUEUED or not lacks(c, c.z, id) then return false end
	if c.since then return time_at(rec, 68) < c.since end
	return not queued(c, id)
end
fault[3] = function(c, id, rec, state) return state == SCHEDULED and lacks(c, c.z, id) end
fault[4] = function(c, id, rec, state) return state == HELD and lacks(c, c.h, id) end
fault[5] = function(c, id, rec, state) return state == HELD and time_at(rec, 18) > 0 and lacks(c, c.z, id) end
fault[6] = function(c, id, rec, state) return state >= LEASED and state <= INPUT and untold(c, id, rec) end
fault[7] = function(c, id, rec, state) return state == QUARANTINED and lacks(c, c.x, id) end
fault[8] = function(c, id, rec, state) return state == DEAD and not has(rec, LET_GO) and lacks(c, c.d, id) end
fault[9] = function(c, id, rec, state) -- nothing forgets it
	local at = end_of(rec, state)
	return at and left_behind(c, at)
end
fault[10] = function(c, id, rec, state) return state > 0 and lacks(c, c.n, id) end
fault[11] = function(c, id, rec, state, key) -- an idempotency key of nothing
	return not rec and sub(call('HGET', c.i, key) or '', 1, 16) == id
end
fault[12] = function(c, id, rec, state) return state ~= HELD and not lacks(c, c.h, id) end
fault[13] = function(c, id, rec, state) return state ~= DEAD and not lacks(c, c.d, id) end
fault[14] = function(c, id, rec, state) return state ~= QUARANTINED and not lacks(c, c.x, id) end
fault[15] = function(c, id, rec) return not rec and not lacks(c, c.n, id) end
fault[16] = function(c, id, rec, state, key)
	return not names(rec, sub(key, 1, 8)) and call('EXISTS', c.base .. 'b:' .. id .. sub(key, 1, 8)) == 1
end
fault[17] = function(c, id, rec) return not rec and call('EXISTS', c.base .. 'e:' .. id) == 1 end

repair[1] = function(c, id) quarantine({c.m, c.s, c.z, c.h, c.x}, {id}) end
repair[2] = function(c, id, rec)
	call('RPUSH', c.q[class(rec)], id)
	wake(c.m, c.arm, '')
end
repair[3] = function(c, id, rec)
	local deadline = time_at(rec, 18)
	call('ZADD', c.z, deadline > 0 and min(c.due, deadline) or c.due, id)
end
repair[4] = function(c, id, rec) call('ZADD', c.h, time_at(rec, 68), id) end
repair[5] = function(c, id, rec) call('ZADD', c.z, time_at(rec, 18), id) end
repair[6] = function(c, id, rec) call('ZADD', c.l, c.now + 1, hint_of(id, rec)) end -- after the ends of the others that nothing tells of
repair[7] = function(c, id, rec) call('ZADD', c.x, time_at(rec, 68), id) end
repair[8] = function(c, id, rec) call('ZADD', c.d, time_at(rec, 68), id) end
repair[10] = function(c, id, rec) call('ZADD', c.n, time_at(rec, 61), id) end
repair[11] = function(c, id, rec, key) call('HDEL', c.i, key) end
repair[12] = function(c, id) call('ZREM', c.h, id) end
repair[13] = function(c, id) call('ZREM', c.d, id) end
repair[14] = function(c, id) call('ZREM', c.x, id) end
repair[15] = function(c, id) call('ZREM', c.n, id) end
repair[16] = function(c, id, rec, key) call('UNLINK', c.base .. 'b:' .. id .. sub(key, 1, 8)) end
repair[17] = function(c, id) call('UNLINK', c.base .. 'e:' .. id) end

-- Two that are alike: nothing that waits has come or gone between them, and no record.
local function mark_of(c)
	local m = call('HMGET', c.m, 'inc', 'seq', 'fence', 'w', 'wb', 't')
	for j = 1, #m do m[j] = m[j] or '' end
	return redis.sha1hex(concat(m, '/') .. '/' .. call('HLEN', c.s)), tonumber(m[6]) or c.now
end

-- What waits, against what was counted record by record.
fault[18] = function(c)
	local m = call('HMGET', c.m, 'w', 'wb')
	return tonumber(m[1]) ~= c.counted_w or tonumber(m[2]) ~= c.counted_wb
end
repair[18] = function(c) call('HSET', c.m, 'w', c.counted_w, 'wb', c.counted_wb, 't', c.now) end

-- ---- looks ----

local function suspect(r, kind, state, id, key)
	r.out[#r.out + 1] = char(kind, state) .. id .. (key or ZERO16)
end

local look_at = {} -- by number of the place, as in store.h

look_at[0] = function(c, r)
	local mark, t = mark_of(c)
	for j = 1, 3 do r.seen = r.seen + call('LLEN', c.q[j]) end
	r.out[1] = t < c.now and mark or rep('-', 40) -- what comes in the same ms would not be told from what is there
end

-- From the end to the front: what is popped meanwhile moves the rest into what is still to be read.
local function look_queue(key)
	return function(c, r, cursor)
		local n = call('LLEN', key(c))
		local to = cursor == '0' and n or min(tonumber(cursor), n)
		local from = max(0, to - LOOK_WINDOW)
		if to > 0 then r.out = call('LRANGE', key(c), from, to - 1) end
		for j = 1, #r.out do
			if #r.out[j] ~= 16 then r.out[j] = '' end
		end
		r.next = from
	end
end

-- What is asked of most records is asked for all at once: it is there, mostly.
local function ask_together(c, found)
	local ids, waiting, tasks = {}, {}, {}
	for j = 1, #found, 2 do
		local id, rec = found[j], found[j + 1]
		local state = state_of(rec)
		if state > 0 and #id == 16 then
			ids[#ids + 1] = id
			if state < LEASED then waiting[#waiting + 1] = id end
			if state < QUARANTINED then tasks[#tasks + 1] = task_of(c, id, rec) end
		end
	end
	c.score = {}
	ask_scores(c, c.n, ids)
	ask_scores(c, c.z, waiting)
	c.all_tasks = #tasks == 0 or call('EXISTS', tun(tasks)) == #tasks
end

look_at[4] = function(c, r, cursor)
	local found = call('HSCAN', c.s, cursor, 'COUNT', LOOK_SCAN)
	r.next = found[1]
	ask_together(c, found[2])
	for j = 1, #found[2], 2 do
		local id, rec = found[2][j], found[2][j + 1]
		local state = state_of(rec)
		if #id == 16 then r.seen = r.seen + 1 end
		if state >= HELD and state < LEASED then r.w, r.wb = r.w + 1, r.wb + size_of(rec) end
		local shows = SHOWS[state] or SHOWS_ENDED
		for n = 1, #id == 16 and #shows or 0 do
			if fault[shows[n]](c, id, rec, state) then suspect(r, shows[n], state, id) end
		end
	end
end

look_at[5] = function(c, r, cursor)
	local found = call('HSCAN', c.i, cursor, 'COUNT', LOOK_SCAN)
	r.next = found[1]
	for j = 1, #found[2], 2 do
		local key, id = found[2][j], sub(found[2][j + 1], 1, 16)
		if #key == 16 and #id == 16 and fault[11](c, id, call('HGET', c.s, id), 0, key) then suspect(r, 11, 0, id, key) end
	end
end

local function look_zset(key, kind)
	return function(c, r, cursor)
		local found = call('ZSCAN', key(c), cursor, 'COUNT', LOOK_SCAN)
		local ids = {}
		for j = 1, #found[2], 2 do ids[#ids + 1] = found[2][j] end
		local recs = #ids > 0 and call('HMGET', c.s, tun(ids)) or {}
		r.next = found[1]
		for j = 1, #ids do
			local id, rec = ids[j], recs[j]
			local state = state_of(rec)
			if #id ~= 16 then
				r.stale = r.stale + 1
			elseif kind == 0 then
				r.stale = r.stale + (rec and 0 or 1)
			elseif fault[kind](c, id, rec, state) then
				suspect(r, kind, state, id)
			end
		end
	end
end

-- What the rest of this library skips when its turn comes: ids without a record.
local function count_stale(c, r, ids)
	local recs = #ids > 0 and call('HMGET', c.s, tun(ids)) or {}
	for j = 1, #ids do
		if not recs[j] then r.stale = r.stale + 1 end
	end
end

look_at[11] = function(c, r, cursor)
	local found, ids = call('ZSCAN', c.l, cursor, 'COUNT', 1), {}
	r.next = found[1]
	for j = 1, #found[2], 2 do
		local hint = found[2][j]
		for o = 9, #hint - 16, 17 do ids[#ids + 1] = sub(hint, o, o + 15) end
	end
	for j = 1, #ids, 256 do
		local some = {}
		for n = j, min(j + 255, #ids) do some[#some + 1] = ids[n] end
		count_stale(c, r, some)
	end
end

local function look_stale(key)
	return function(c, r, cursor)
		local ids = call('LRANGE', key(c), cursor, cursor + 255)
		r.next = #ids == 256 and cursor + 256 or 0
		count_stale(c, r, ids)
	end
end

-- A blob's or a list of events' name, taken apart: what its slot's keys begin with, kind, id, token; nil: not of this form.
local function name_of(key)
	local base = match(key, '^{[^}]*}:@[^:]*:') or match(key, '^{[^}]*}:') or ''
	local kind, id, token = sub(key, #base + 1, #base + 2), sub(key, #base + 3, #base + 18), sub(key, #base + 19)
	if (kind == 'b:' and #token == 8 or kind == 'e:' and #token == 0) and #id == 16 and #base < 256 then return base, sub(kind, 1, 1), id, token end
end

-- {tenant/route}:@agent: is that of tenant/route/agent.
local function slot_of(base)
	return match(base, '^{(.*)}:$') or concat({match(base, '^{(.*)}:@(.*):$')}, '/')
end

-- Of all slots: there is no other way to find those that nobody names.
look_at[15] = function(c, r, cursor)
	local found, slots = call('SCAN', cursor, 'MATCH', '{*}:*[be]:*', 'COUNT', LOOK_SCAN), {}
	r.next = found[1]
	for j = 1, #found[2] do
		local base, kind, id, token = name_of(found[2][j])
		if base then
			local s = slots[base] or {ids = {}, keys = {}}
			slots[base] = s
			s.ids[#s.ids + 1], s.keys[#s.keys + 1] = id, {kind, id, token}
		end
	end
	for base, s in pairs(slots) do
		local recs, slot = try('HMGET', base .. 's', tun(s.ids)), slot_of(base)
		for j = 1, recs.err and 0 or #s.keys do
			local kind, id, token = tun(s.keys[j])
			if kind == 'b' and not names(recs[j], token) or kind == 'e' and not recs[j] then
				r.out[#r.out + 1] = char(kind == 'b' and 16 or 17, #slot) .. slot .. id .. (kind == 'b' and token or ZERO8) .. ZERO8
			end
		end
	end
end

for j = 1, 3 do
	local function q(c) return c.q[j] end
	look_at[j], look_at[11 + j] = look_queue(q), look_stale(q)
end
look_at[6] = look_zset(function(c) return c.h end, 12)
look_at[7] = look_zset(function(c) return c.d end, 13)
look_at[8] = look_zset(function(c) return c.x end, 14)
look_at[9] = look_zset(function(c) return c.n end, 15)
look_at[10] = look_zset(function(c) return c.z end, 0)

-- m s i z l q0 q1 q2 n f d x h · place, cursor, since, keep finished ms. Answer: 'K' header, then where to go on 8 (0 = this place was seen), seen 4,
-- waiting 6 and bytes 6 of the records seen, entries that name nothing 4; then what the place gives: suspects (kind 1, state 1, id 16,
-- key 16), of place 15 with length and name of their slot before the id; ids of a queue; of place 0 the mark.
local function look(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb')
	local c, r = checker(k, clock(m[1]), tonumber(a[4])), {out = {}, next = 0, seen = 0, w = 0, wb = 0, stale = 0}
	c.since = tonumber(a[3])
	look_at[tonumber(a[1])](c, r, a[2])
	return head(c.now, m[2], m[3], 0) .. pack('>I8I4I6I6I4', tonumber(r.next), r.seen, r.w, r.wb, r.stale) .. concat(r.out)
end

-- m s i z l q0 q1 q2 n f d x h · incarnation, item. Item, 114 bytes: 1 kind 2 repair 3 id 19 key 35 due 43 keep finished ms
-- 51 records counted 59 waiting 67 bytes waiting 75 mark, these of kind 18. Answer: 'K' header, status 1 (OK: it is so; NOT_FOUND; WRONG: cannot
-- be judged, something moved), flag 1: it was put right, id 16, record 119.
local function mend(k, a)
	init()
	local m = call('HMGET', k[1], 'inc', 't', 'w', 'arm', 'wb')
	if m[1] ~= a[1] or not fresh(a[1]) then return 'O' end
	probe('hhhzzlllzlzzz', k)
	local kind, asked, id, key, due, keep, seen, w, wb, mark = unpk('>BBc16c16I8I8I8I8I8c40', a[2])
	local c = checker(k, clock(m[2]), keep)
	local rec, status, mended = call('HGET', k[2], id), NOT_FOUND, 0
	c.due, c.counted_w, c.counted_wb, c.arm = due, w, wb, m[4]
	if kind == 18 and (mark ~= mark_of(c) or seen ~= call('HLEN', k[2]) - 1 - call('HEXISTS', k[2], '#')) then
		status = WRONG
	elseif fault[kind](c, id, rec, state_of(rec), key) then
		status = OK
		if asked == 1 then
			repair[kind](c, id, rec, key)
			rec, mended = call('HGET', k[2], id) or rec, 1
		end
	end
	return head(c.now, m[3], m[5], 0) .. char(status, mended) .. id .. (whole(rec) and rec or NONE)
end
