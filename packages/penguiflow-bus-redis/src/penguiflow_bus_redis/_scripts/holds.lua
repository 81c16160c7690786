-- ARGV: member, P, B, id. Returns whether the member lives and holds the message.
open()
if not redis.call('ZSCORE', MEMBERS, ARGV[1]) then return 0 end
local held = redis.call('XPENDING', stream_of(ARGV[2], ARGV[3]), 'g', ARGV[4], ARGV[4], 1)[1]
return held and held[2] == ARGV[1] and 1 or 0
