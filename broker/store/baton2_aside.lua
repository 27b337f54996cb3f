-- How is work kept from nodes that have not heard of a revocation, and taken out of the queues of those that have? A barrier in m says by which
-- generation of what all nodes share (baton2_shared.lua) a node must live to take work in or hand it out. Behind it what waits is put
-- aside, one by one, and comes back when an operator says so. Part of the library that begins in baton2.lua.

local ASIDE = {} -- its Functions; a chunk of Lua has room for 200 names, so the others stay in here
do

local ASIDE_ITEM = 25
local TAKES = 128 -- beside the state that it goes to: what is leased is taken, too

-- m · generation. It never goes back, and stands in a slot that was not opened yet too.
local function barrier(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb', 'ep', 'rev')
	local rev = max(number(m[5]), number(a[1]))
	call('HSET', k[1], 'rev', rev)
	return head(clock(m[1]), m[2], m[3], rev, m[4])
end

-- What it was before stays in its marks: it is scheduled, or backs off, until the time at 108, or it is held.
local WAS_LATER, WAS_HELD = 32, 64

-- Until when it stands in z; nil: it does not, or its sender's confirmation has that place in the record.
local function later(kz, id, rec)
	return byte(rec, 67) ~= HELD and not has(rec, CONFIRMED) and tonumber(call('ZSCORE', kz, id) or nil)
end

-- The record as it is in quarantine.
local function put_aside(k, id, rec, now, token)
	local at, held = later(k[3], id, rec), byte(rec, 67) == HELD
	local marks = kept_marks(rec) + (at and WAS_LATER or 0) + (held and WAS_HELD or 0) + (held and has(rec, UNCONFIRMED) and UNCONFIRMED or 0)
	call('ZREM', k[3], id)
	call('ZREM', k[7], id)
	call('ZADD', k[8], now, id)
	rec = with(rec, QUARANTINED, now, cursor_of(rec) + 1, marks, token)
	return at and until_when(rec, at) or rec
end

-- The record as it was, and whether it stands in a queue now. What was scheduled or backed off does so until the same time.
local function put_back(k, id, rec, now, token)
	local at, deadline = has(rec, WAS_LATER) and unpk('>I6', rec, 108) or 0, unpk('>I6', rec, 18)
	local cursor = cursor_of(rec) + 1
	call('ZREM', k[8], id)
	if has(rec, WAS_HELD) then
		call('ZADD', k[7], now, id)
		if deadline > 0 then call('ZADD', k[3], deadline, id) end
		return with(rec, HELD, now, cursor, kept_marks(rec) + (has(rec, UNCONFIRMED) and UNCONFIRMED or 0), token), false
	end
	local never = sub(rec, 92, 99) == ZERO8
	rec = with(rec, never and at > now and SCHEDULED or QUEUED, now, cursor, (never and 0 or GIVEN_BACK) + kept_marks(rec), token)
	if at > now then
		call('ZADD', k[3], at, id)
		return rec, false
	end
	call('LREM', k[3 + class(rec)], 1, id) -- where it stood before
	call('RPUSH', k[3 + class(rec)], id)
	return rec, true
end

-- m s z q0 q1 q2 h x · node, items, bodies. Item, 25 bytes: 1 id 17 token 25 to which state: QUARANTINED, of what waits, and with TAKES of what is
-- leased too; or QUEUED, of what is quarantined, which waits again as it did before, over any cap. An id that stands in a queue meanwhile is skipped
-- there, as a lease's hint is.
local function aside(k, a)
	init()
	local km, ks, items = k[1], k[2], a[2]
	local m = call('HMGET', km, 't', 'w', 'wb', 'arm')
	local now, t, base = clock(m[1]), tally(m[2], m[3]), sub(km, 1, -2)
	local out, queued = {}, false
	probe('hhzlllzz', k)
	local ids, by = load_items(ks, items, ASIDE_ITEM)
	for j = 1, #ids do
		local id, rec, status = ids[j], by[ids[j]], OK
		local token, to = unpk('>c8B', items, (j - 1) * ASIDE_ITEM + 17)
		local state, logged, takes = rec and byte(rec, 67), nil, to >= TAKES
		to = takes and to - TAKES or to
		if not rec then
			status = NOT_FOUND
		elseif sub(rec, 79, 86) == token then
			status = OK
		elseif to == QUARANTINED and state < (takes and QUARANTINED or LEASED) then
			if state < LEASED then waits(t, rec, -1) end
			logged = put_aside(k, id, rec, now, token)
			rec = logged
		elseif to == QUEUED and state == QUARANTINED then
			local in_queue
			logged, in_queue = put_back(k, id, rec, now, token)
			queued = queued or in_queue
			rec = byte(logged, 67) == QUEUED and sub(logged, 1, 99) .. ZERO8 .. sub(logged, 108) or logged
			waits(t, rec, 1)
		else
			status = WRONG
		end
		if logged then
			log(base, id, logged, token, a[2 + j])
			by[id] = rec
			call('HSET', ks, id, rec)
		end
		entry(out, j, status, 0, id, rec)
	end
	settle(km, t, now)
	if queued then wake(km, m[4], a[1]) end
	return head(now, t.w, t.wb, 0) .. concat(out)
end

ASIDE.barrier, ASIDE.aside = barrier, aside
end
