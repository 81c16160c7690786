-- ARGV: member, whether the server knows XACKDEL, then for each stream P:B, how many, and their ids.
-- Returns how many were acknowledged, -1 where the member lives no longer: then others may hold its messages.
open()
if not redis.call('ZSCORE', MEMBERS, ARGV[1]) then return -1 end
local removed, i = 0, 3
local counted = redis.call('EXISTS', ATTEMPTS) == 1
while i < #ARGV do
  local place, count = ARGV[i], tonumber(ARGV[i + 1])
  local stream, last = K .. ':s:' .. place, i + 1 + count
  if ARGV[2] == '1' then
    -- Untested: no server that the tests can get knows this command yet.
    for _, state in ipairs(redis.call('XACKDEL', stream, 'g', 'KEEPREF', 'IDS', count, unpack(ARGV, i + 2, last))) do
      if state == 1 then removed = removed + 1 end
    end
  else
    removed = removed + redis.call('XACK', stream, 'g', unpack(ARGV, i + 2, last))
    redis.call('XDEL', stream, unpack(ARGV, i + 2, last))
  end
  if counted then
    for j = i + 2, last do redis.call('HDEL', ATTEMPTS, place .. ':' .. ARGV[j]) end
  end
  i = last + 1
end
made_room(removed)
return removed
