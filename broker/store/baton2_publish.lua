-- How does one piece of work reach every agent of a broadcast route? The route's own slot takes it as any other slot would, so that replay,
-- idempotency and the floor hold, and keeps it as completed; each agent's inbox takes a copy of its own, all in one step. From there on
-- a copy lives as any handoff does, and nobody else's matters to it. Part of the library that begins in baton2.lua.

local NO_CAP = 9007199254740992
local COPY_STORED, COPY_FULL, COPY_CLOSED = 0, 1, 2

-- m s i z q0 q1 q2 n f h l d, in accept's order
local INBOX_KEYS = {'m', 's', 'i', 'z', 'q0', 'q1', 'q2', 'n', 'f', 'h', 'l', 'd'}

-- Its keys; a key of another type, of those that a copy is written to, raises its error here. opened: under this incarnation.
local function inbox_of(base, agent, inc)
	local k = {}
	for j = 1, #INBOX_KEYS do k[j] = base .. '@' .. agent .. ':' .. INBOX_KEYS[j] end
	k.opened = call('HGET', k[1], 'inc') == inc
	k.opened = call('HEXISTS', k[2], '.') == 1 and k.opened
	call('ZCARD', k[4]) call('LLEN', k[5]) call('LLEN', k[6]) call('LLEN', k[7]) call('ZCARD', k[8]) call('ZCARD', k[12])
	return k
end

-- What accept said of the only item: status, and the state that its record has.
local function only(answer)
	return byte(answer, 30), byte(answer, 114)
end

-- A copy is as old as it is: that it is no replay, the route's slot has found.
local function copy(k, a, item, from)
	local to = sub(k[1], 1, -2) .. 'b:' .. sub(item, 1, 16) .. sub(item, 46, 53)
	call('COPY', from, to)
	local status, state = only(accept(k, {a[1], a[2], a[3], a[4], a[5], a[6], -NO_CAP, item, known = true}))
	if status == QUOTA then
		call('COPY', from, to)
		status, state = only(accept(k, {a[1], a[2], NO_CAP, NO_CAP, NO_CAP, NO_CAP, -NO_CAP, sub(item, 1, 70) .. char(DEAD) .. sub(item, 72), known = true}))
	end
	if status == CLOSED then return COPY_CLOSED end
	return state == DEAD and COPY_FULL or COPY_STORED
end

-- m s i z q0 q1 q2 n f h l d · as accept, of one item, then the agents' names with spaces between, and a token of who asks. Answer: that of
-- accept, then a byte for each agent: 0 its inbox has its copy, 1 it is full, and the copy is dead-lettered there, 2 it is closed and has none.
local function publish(k, a)
	init()
	local item, base, inboxes, told = a[8], sub(k[1], 1, -2), {}, {}
	for agent in gmatch(a[10], '%S+') do
		inboxes[#inboxes + 1] = inbox_of(base, agent, a[1])
	end
	local answer = accept(k, {a[1], a[2], a[3], a[4], a[5], a[6], a[7], sub(item, 1, 70) .. char(COMPLETED) .. sub(item, 72), a[9]})
	if #answer == 1 or only(answer) ~= OK then return answer end
	local from = base .. 'b:' .. sub(item, 1, 16) .. sub(item, 46, 53)
	local mine = sub(item, 1, 53) .. ZERO8 .. ZERO8 .. '\0' .. sub(item, 71, 99) .. ZERO8 .. sub(item, 108)
	for j = 1, #inboxes do
		local inbox = inboxes[j]
		if not inbox.opened then
			open({inbox[1], inbox[2], inbox[8], inbox[5], inbox[6], inbox[7], inbox[4], inbox[10]}, {0, 0, NO_CAP, a[11], 0})
		end
		told[j] = char(copy(inbox, a, mine, from))
	end
	return answer .. concat(told)
end
