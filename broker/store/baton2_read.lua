-- What is known of handoffs? One by one, the events of one, or a route's newest. Nothing is written here.

-- m s · ids
local function get(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb')
	local out, ids = {}, {}
	for j = 1, #a[1] / 16 do ids[j] = sub(a[1], j * 16 - 15, j * 16) end
	local recs = call('HMGET', k[2], tun(ids))
	for j = 1, #ids do
		local id, rec = find_record(k[2], ids[j], recs[j])
		entry(out, j, rec and OK or NOT_FOUND, 0, id, rec)
	end
	return head(clock(m[1]), m[2], m[3], 0) .. concat(out)
end

-- m s · id, after, max. Answer: an array of the usual string with one entry, then the events. extra = 1 when there are more of them.
local function events(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb')
	local id, rec = find_record(k[2], a[1], call('HGET', k[2], a[1]))
	local key, after, left, bytes = sub(k[1], 1, -2) .. 'e:' .. id, tonumber(a[2]), tonumber(a[3]), 0
	local out, more = {''}, 0
	local first = rec and call('LINDEX', key, 0)
	local at = first and max(0, after - unpk('>I4', first, 8) + 1)
	while first and left > 0 and more == 0 do
		local some = call('LRANGE', key, at, at + min(left, 4) - 1)
		if #some == 0 then break end
		for j = 1, #some do
			if bytes > 0 and bytes + #some[j] > EVENT_BYTES then more = 1 break end
			out[#out + 1], bytes = some[j], bytes + #some[j]
		end
		left, at = left - #some, at + #some
	end
	if first and at < call('LLEN', key) then more = 1 end
	out[1] = head(clock(m[1]), m[2], m[3], more) .. char(rec and OK or NOT_FOUND, 0) .. id .. (rec or NONE)
	return out
end

-- m s n · agent 8, state, before, max, bytes of blobs that may follow. extra = the position to go on before, 0 = the end.
local function list(k, a)
	init()
	local m = call('HMGET', k[1], 't', 'w', 'wb')
	local want, budget, state, out, on, n = tonumber(a[4]), tonumber(a[5]), tonumber(a[2]), {}, 0, 0
	local found = call('ZREVRANGEBYSCORE', k[3], a[3] == '0' and '+inf' or '(' .. a[3], '-inf', 'WITHSCORES', 'LIMIT', 0, LIMIT_LOOK + 1)
	local ids = {}
	for j = 1, #found, 2 do ids[#ids + 1] = found[j] end
	local recs = #ids > 0 and call('HMGET', k[2], tun(ids)) or {}
	if #ids > LIMIT_LOOK then on = found[2 * #ids] + 1 end
	for j = 1, min(#ids, LIMIT_LOOK) do
		local rec = recs[j]
		if whole(rec) and (state == 0 or byte(rec, 67) == state)
			and (a[1] == ZERO8 or sub(rec, 2, 9) == a[1] or sub(rec, 100, 107) == a[1]) then
			budget = budget - size_of(rec) - unpk('>I4', rec, 87)
			if n >= want or (budget < 0 and n > 0) then
				on = found[2 * j] + 1
				break
			end
			n = n + 1
			entry(out, n, OK, 0, ids[j], sub(rec, 1, 60) .. pack('>I6', found[2 * j]) .. sub(rec, 67))
		end
	end
	return head(clock(m[1]), m[2], m[3], on) .. concat(out)
end
