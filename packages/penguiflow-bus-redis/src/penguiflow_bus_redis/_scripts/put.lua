-- ARGV: the most messages, partitions, the channel of the producer, then P:B and payload of each message.
-- Returns how many of them are in, from the first on.
local n = open()
local known = redis.call('HGET', META, 'partitions')
if known and known ~= ARGV[2] then return redis.error_reply('PARTITIONS ' .. known) end
if not known then redis.call('HSET', META, 'partitions', ARGV[2]) end
local count = (#ARGV - 3) / 2
local taken = math.max(0, math.min(ARGV[1] - n, count))
local touched = {}
for i = 1, taken do
  local place = ARGV[2 + 2 * i]
  redis.call('XADD', K .. ':s:' .. place, '*', 'm', ARGV[3 + 2 * i])
  touched[place] = true
end
if taken > 0 then redis.call('HINCRBY', META, 'n', taken) end
if taken < count then
  redis.call('SADD', FULL, ARGV[3])
  keep(FULL)
end
if deadline then
  for place in pairs(touched) do keep(K .. ':s:' .. place) end
end
if redis.call('EXISTS', IDLE) == 1 then
  for place in pairs(touched) do ring_owner(string.match(place, '^%d+')) end
end
return taken
