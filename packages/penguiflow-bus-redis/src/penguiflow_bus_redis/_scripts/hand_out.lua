-- ARGV: member, then P:B:id of messages that came back and are about to be delivered again.
-- Counts them as delivered; returns 0 where the member lives no longer.
open()
if not redis.call('ZSCORE', MEMBERS, ARGV[1]) then return 0 end
for i = 2, #ARGV do redis.call('HINCRBY', ATTEMPTS, ARGV[i], 1) end
keep(ATTEMPTS)
return 1
