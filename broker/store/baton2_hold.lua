-- Which work must its sender confirm after a fail-over? A replica that became the primary may lack the last changes that the old one made: what
-- waits here may have been done there. Under an idempotency key it has effects, so it is not handed out again on that word. `open` notes in m
-- when such work was accepted, which costs the same however much waits; each record is judged when it is popped. Its sender confirms it
-- by a new envelope under the same key, stamped after the fail-over. Part of the library that begins in baton2.lua.
-- Span in `hold` of m: from 6 to 6 fence 8. Held is what was accepted, or confirmed, between the two and was handed out by no later fence.

local SPAN_BYTES, LIMIT_SPANS = 20, 3 -- together under 64 bytes: more would cost m its compact form

-- From, to and fence of each, one behind the other.
function spans_of(text)
	local v = {}
	for o = 1, #(text or '') - SPAN_BYTES + 1, SPAN_BYTES do v[#v + 1], v[#v + 2], v[#v + 3] = unpk('>I6I6I8', text, o) end
	return v
end

-- Whether this server was a replica once, and is none any more since it last started.
local function promoted(server)
	return find(server, 'master_replid2:0*[1-9a-f]') ~= nil
end

-- At an opening: the spans as they are from now on, and the new one, zeros when there is none. The last change that is here was made at `last`:
-- what is missing came after it. When there are too many, the two oldest become one.
function span_add(text, server, same, lost, now, last, fence, ms)
	ms, text = tonumber(ms), text or ''
	if ms == 0 or same or not (lost > 0 or promoted(server)) then return text, 0, 0 end
	local from = max((tonumber(last) or 0) - ms, 0)
	text = text .. pack('>I6I6I8', from, now, fence)
	if #text > LIMIT_SPANS * SPAN_BYTES then text = sub(text, 1, 6) .. sub(text, SPAN_BYTES + 7) end
	return text, from, now
end

function doubtful(spans, rec)
	if #spans == 0 or byte(rec, 54) ~= 1 then return false end
	local at, fence = unpk('>I6', rec, has(rec, CONFIRMED) and 108 or 55), unpk('>I8', rec, 92)
	for j = 1, #spans, 3 do
		if at >= spans[j] and at <= spans[j + 1] and fence <= spans[j + 2] then return true end
	end
	return false
end

-- Held until its sender says more. It still waits, and may have been given back.
function set_aside(rec, now)
	return with(rec, HELD, now, cursor_of(rec) + 1, (has(rec, GIVEN_BACK) and GIVEN_BACK or 0) + UNCONFIRMED)
end

-- Its sender has sent it again. The record as it is then, and whether it was held for that and is queued now; nil: there was nothing to confirm.
-- What is leased keeps its lease, and is not asked about again when that lapses.
function confirm(spans, rec, now)
	local state = byte(rec, 67)
	local held = state == HELD and has(rec, UNCONFIRMED)
	if not held and (state < SCHEDULED or state > INPUT or not doubtful(spans, rec)) then return nil end
	local marks = (has(rec, GIVEN_BACK) and GIVEN_BACK or 0) + CONFIRMED
	local at = state < LEASED and now or max(unpk('>I6', rec, 108), now)
	if held then rec = with(rec, QUEUED, now, cursor_of(rec) + 1) end
	return sub(rec, 1, 77) .. char(marks) .. sub(rec, 79, 107) .. pack('>I6', at) .. sub(rec, 114), held
end

-- What stays of the marks when it goes back to the queue: what its sender said.
local function kept_marks(rec)
	return has(rec, CONFIRMED) and CONFIRMED or 0
end
