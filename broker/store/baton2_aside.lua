-- How is work kept from nodes that have not heard of a revocation, and taken out of the queues of those that have? A barrier in m says by which
-- generation of what all nodes share (baton2_shared.lua) a node must live to take work in or hand it out. Behind it what waits is put
-- aside, one by one, and comes back when an operator says so. Part of the library that begins in baton2.lua.

local ASIDE = {} -- its Functions; a chunk of Lua has room for 200 names, so the others stay in here
do

local ASIDE_ITEM = 25

-- m · generation. It never goes back, and stands in a slot that was not opened yet too.
local function barrier(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb', 'ep', 'rev')
	local rev = max(number(m[5]), number(a[1]))
	call('HSET', k[1], 'rev', rev)
	return head(clock(m[1]), m[2], m[3], rev, m[4])
end

-- m s z q0 q1 q2 h x · node, items, bodies. Item, 25 bytes: 1 id 17 token 25 to which state: QUARANTINED, of what waits, or QUEUED, of what is
-- quarantined, which waits again, over any cap. An id that stands in a queue is skipped there; one that comes back may stand in it twice, and goes out
-- by the first. What is leased stays with its node.
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
		local state = rec and byte(rec, 67)
		if not rec then
			status = NOT_FOUND
		elseif sub(rec, 79, 86) == token then
			status = OK
		elseif to == QUARANTINED and state < LEASED then
			waits(t, rec, -1)
			call('ZREM', k[3], id)
			call('ZREM', k[7], id)
			rec = with(rec, QUARANTINED, now, cursor_of(rec) + 1, kept_marks(rec), token)
			call('ZADD', k[8], now, id)
		elseif to == QUEUED and state == QUARANTINED then
			call('ZREM', k[8], id)
			rec = with(rec, QUEUED, now, cursor_of(rec) + 1, GIVEN_BACK + kept_marks(rec), token)
			waits(t, rec, 1)
			call('RPUSH', k[3 + class(rec)], id)
			queued = true
		else
			status = WRONG
		end
		if status == OK and rec ~= by[id] then
			log(base, id, rec, token, a[2 + j])
			if to == QUEUED then rec = sub(rec, 1, 99) .. ZERO8 .. pack('>I6', now) .. sub(rec, 114) end
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
