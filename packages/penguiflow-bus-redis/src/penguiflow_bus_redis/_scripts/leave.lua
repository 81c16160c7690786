-- ARGV: member, 0 where it still wants messages, 1 where it leaves for good, 2 where it keeps what it delivered, how many partitions it gives up, these, then of each message that it read
-- and delivered to nobody P, B, id. Returns how many members are left that want messages.
open()
local member, count = ARGV[1], tonumber(ARGV[3])
if not redis.call('ZSCORE', MEMBERS, member) then return -1 end
local now = now_ms()
for i = 4 + count, #ARGV, 3 do
  local held = redis.call('XPENDING', stream_of(ARGV[i], ARGV[i + 1]), 'g', ARGV[i + 2], ARGV[i + 2], 1)[1]
  if held and held[2] == member then back(ARGV[i], ARGV[i + 1], ARGV[i + 2], 0, now) end
end
for i = 4, 3 + count do
  if redis.call('HGET', OWNERS, ARGV[i]) == member then redis.call('HDEL', OWNERS, ARGV[i]) end
end
if ARGV[2] == '1' then sweep(member, now, 0, 0, 0) end
if ARGV[2] == '2' then
  redis.call('HDEL', WANTING, member)
  redis.call('HDEL', IDLE, member)
end
assign(member)
return redis.call('HLEN', WANTING)
