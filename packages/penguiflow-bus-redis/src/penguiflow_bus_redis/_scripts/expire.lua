-- ARGV: time to live (ms), partitions. From here on the queue and all in it lives that long.
open()
deadline = now_ms() + ARGV[1]
redis.call('HMSET', META, 'ttl', ARGV[1], 'deadline', deadline)
-- What is put later lives as long, and that has to be known: the record stays for a day.
redis.call('PEXPIREAT', META, deadline + 86400000)
local count = partitions() or tonumber(ARGV[2])
for _, key in ipairs({ATTEMPTS, MEMBERS, WANTING, OWNERS, IDLE, FULL, K .. ':dead'}) do keep(key) end
for partition = 0, count - 1 do
  keep(ENDED .. partition)
  keep(K .. ':h:' .. partition)
  for band = 0, 2 do keep(stream_of(partition, band)) end
end
return 1
