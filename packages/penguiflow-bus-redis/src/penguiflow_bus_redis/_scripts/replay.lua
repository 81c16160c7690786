-- ARGV: the most messages, the channel of the producer, then ids of dead letters.
-- Puts them back as if new; returns how many, from the first on, are done with, and how many of those were there.
local n = open()
local done, replayed = 0, 0
for i = 3, #ARGV do
  if n + replayed >= tonumber(ARGV[1]) then
    redis.call('SADD', FULL, ARGV[2])
    keep(FULL)
    break
  end
  done = done + 1
  local entry = redis.call('XRANGE', K .. ':dead', ARGV[i], ARGV[i])[1]
  if entry then
    local fields = entry[2]
    redis.call('XADD', K .. ':s:' .. fields[4], '*', 'm', fields[2])
    keep(K .. ':s:' .. fields[4])
    redis.call('XDEL', K .. ':dead', ARGV[i])
    replayed = replayed + 1
    ring_owner(string.match(fields[4], '^%d+'))
  end
end
if replayed > 0 then redis.call('HINCRBY', META, 'n', replayed) end
return {done, replayed}
