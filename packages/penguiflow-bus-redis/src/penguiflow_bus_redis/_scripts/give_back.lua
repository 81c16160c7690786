-- ARGV: member, delay (ms), the most deliveries (0: any), the most dead letters, the reason, then of each message P, B,
-- id, number of deliveries, trace id ('' where a delay holds no other back).
-- Returns how many were taken back, -1 where the member lives no longer.
open()
local member, delay_ms, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if not redis.call('ZSCORE', MEMBERS, member) then return -1 end
local due, taken = now_ms() + delay_ms, 0
for i = 6, #ARGV, 5 do
  local partition, band, id, attempts = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local held = redis.call('XPENDING', stream_of(partition, band), 'g', id, id, 1)[1]
  if held and held[2] == member then
    taken = taken + 1
    if most > 0 and attempts >= most then
      bury(partition, band, id, attempts, 'delivered ' .. attempts .. ' times, last ' .. ARGV[5], ARGV[4])
    else
      back(partition, band, id, attempts, due, ARGV[i + 4])
      ring_owner(partition)
    end
  end
end
return taken
