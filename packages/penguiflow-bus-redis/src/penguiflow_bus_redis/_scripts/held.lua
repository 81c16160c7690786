-- ARGV: member. Returns P:B and the ids of all that the member holds.
open()
local found = {}
for partition = 0, (partitions() or 0) - 1 do
  for band = 0, 2 do
    local reply = redis.pcall('XPENDING', stream_of(partition, band), 'g', '-', '+', 100000, ARGV[1])
    if not reply.err and #reply > 0 then
      local ids = {}
      for i, entry in ipairs(reply) do ids[i] = entry[1] end
      found[#found + 1] = {partition .. ':' .. band, ids}
    end
  end
end
return found
