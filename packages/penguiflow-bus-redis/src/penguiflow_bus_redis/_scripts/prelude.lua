-- What every script begins with. All keys of a queue start with KEYS[1], a hash tag, so that they share a slot:
--   :q           hash   n (messages not acknowledged), partitions, ttl and deadline (ms) of a queue that expires
--   :s:P:B       stream of partition P and band B (0 goes first), read by the group 'g'
--   :z:P         what came back: padded id and band, by the time (ms) from which it is delivered again
--   :h:P         of those that are delayed: the trace id, whose later messages wait
--   :a           P:B:id to the number of deliveries, of those that came back
--   :m :w :o     members by the time until which they live; those that want messages; who owns a partition
--   :i           members that have read all there is, and are rung for more
--   :f           channels of producers that wait for room
--   :dead        the stream of dead letters
-- In the group, what came back belongs to the consumer '~' until the owner of the partition takes it.
local K = KEYS[1]
local META, ENDED, ATTEMPTS = K .. ':q', K .. ':z:', K .. ':a'
local MEMBERS, WANTING, OWNERS, IDLE, FULL = K .. ':m', K .. ':w', K .. ':o', K .. ':i', K .. ':f'
local deadline

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Gives a key that was just written the life of its queue, where that is limited.
local function keep(key)
  if deadline then redis.call('PEXPIREAT', key, deadline) end
end

-- Returns how many messages the queue holds. One that was forgotten starts anew, with the same time to live.
local function open()
  local meta = redis.call('HMGET', META, 'n', 'ttl', 'deadline')
  if not meta[2] then return tonumber(meta[1]) or 0 end
  deadline = tonumber(meta[3])
  local now = now_ms()
  if now < deadline then return tonumber(meta[1]) or 0 end
  deadline = now + tonumber(meta[2])
  redis.call('DEL', ATTEMPTS, MEMBERS, WANTING, OWNERS, IDLE, FULL, K .. ':dead')
  for partition = 0, (tonumber(redis.call('HGET', META, 'partitions')) or 0) - 1 do
    redis.call('DEL', ENDED .. partition, K .. ':h:' .. partition)
    for band = 0, 2 do redis.call('DEL', K .. ':s:' .. partition .. ':' .. band) end
  end
  redis.call('HMSET', META, 'n', 0, 'deadline', deadline)
  redis.call('PEXPIREAT', META, deadline + 86400000)
  return 0
end

local function ring(kind, member)
  redis.call('PUBLISH', string.match(member, '^(.*)%.%d+$'), kind .. K)
end

local function ring_owner(partition)
  local owner = redis.call('HGET', OWNERS, partition)
  if owner and redis.call('HDEL', IDLE, owner) == 1 then ring('n', owner) end
end

-- Takes away what was acknowledged, and lets producers know that there is room.
local function made_room(count)
  if count == 0 then return end
  redis.call('HINCRBY', META, 'n', -count)
  if redis.call('EXISTS', FULL) == 1 then
    for _, channel in ipairs(redis.call('SMEMBERS', FULL)) do redis.call('PUBLISH', channel, 'r' .. K) end
    redis.call('DEL', FULL)
  end
end

local function stream_of(partition, band)
  return K .. ':s:' .. partition .. ':' .. band
end

local function name_back(id, band)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.format('%015d-%015d:%s', tonumber(ms), tonumber(seq), band)
end

local function parse_back(name)
  local ms, seq, band = string.match(name, '^0*(%d+)-0*(%d+):(%d)$')
  return ms .. '-' .. seq, band
end

local function remove(partition, band, id)
  local stream = stream_of(partition, band)
  local acked = redis.call('XACK', stream, 'g', id)
  redis.call('XDEL', stream, id)
  redis.call('HDEL', ATTEMPTS, partition .. ':' .. band .. ':' .. id)
  made_room(acked)
end

-- Puts a message that is pending aside, to be delivered again from `due` on.
local function back(partition, band, id, attempts, due, trace)
  local stream = stream_of(partition, band)
  if attempts > 0 then
    redis.call('HSET', ATTEMPTS, partition .. ':' .. band .. ':' .. id, attempts)
    keep(ATTEMPTS)
  end
  redis.call('XCLAIM', stream, 'g', '~', 0, id, 'JUSTID')
  local name = name_back(id, band)
  redis.call('ZADD', ENDED .. partition, due, name)
  keep(ENDED .. partition)
  if trace and trace ~= '' then
    redis.call('HSET', K .. ':h:' .. partition, name, trace)
    keep(K .. ':h:' .. partition)
  end
end

local function bury(partition, band, id, attempts, reason, max_dead)
  local entry = redis.call('XRANGE', stream_of(partition, band), id, id)[1]
  if entry then
    redis.call('XADD', K .. ':dead', 'MAXLEN', '~', max_dead, '*', 'm', entry[2][2], 's', partition .. ':' .. band,
      'reason', reason, 'attempts', attempts)
    keep(K .. ':dead')
  end
  remove(partition, band, id)
end

local function partitions()
  return tonumber(redis.call('HGET', META, 'partitions'))
end

local function owners()
  local found, flat = {}, redis.call('HGETALL', OWNERS)
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end

-- Gives partitions that nobody owns to those who want messages, the ones with fewest first, and returns how many
-- `member` has too many.
local function assign(member)
  local wanting = redis.call('HKEYS', WANTING)
  if #wanting == 0 then return 0 end
  table.sort(wanting)
  local count, free, gained, total = {}, {}, {}, partitions()
  for _, name in ipairs(wanting) do count[name] = 0 end
  local owned = owners()
  for partition = 0, total - 1 do
    local owner = owned[tostring(partition)]
    if owner and count[owner] then
      count[owner] = count[owner] + 1
    elseif not owner or not redis.call('ZSCORE', MEMBERS, owner) then
      free[#free + 1] = partition
    end
  end
  for _, partition in ipairs(free) do
    local least = wanting[1]
    for _, name in ipairs(wanting) do
      if count[name] < count[least] then least = name end
    end
    count[least] = count[least] + 1
    gained[least] = true
    redis.call('HSET', OWNERS, partition, least)
  end
  keep(OWNERS)
  for name in pairs(gained) do
    if name ~= member then
      redis.call('HDEL', IDLE, name)
      ring('n', name)
    end
  end
  if not count[member] then return 0 end
  local floor, least = math.floor(total / #wanting), total
  for _, name in ipairs(wanting) do least = math.min(least, count[name]) end
  local share = least < floor and floor or math.ceil(total / #wanting)
  return math.max(0, count[member] - share)
end

local function forget_member(member)
  for partition, owner in pairs(owners()) do
    if owner == member then redis.call('HDEL', OWNERS, partition) end
  end
  redis.call('HDEL', WANTING, member)
  redis.call('HDEL', IDLE, member)
  redis.call('ZREM', MEMBERS, member)
end

-- Takes all that a member holds from it. What was never delivered before counts as delivered `unless_known` times.
local function sweep(member, now, unless_known, max_deliveries, max_dead)
  for partition = 0, (partitions() or 0) - 1 do
    for band = 0, 2 do
      local stream = stream_of(partition, band)
      local held = redis.pcall('XPENDING', stream, 'g', '-', '+', 1000, member)
      while not held.err and #held > 0 do
        for _, entry in ipairs(held) do
          local id = entry[1]
          local attempts = tonumber(redis.call('HGET', ATTEMPTS, partition .. ':' .. band .. ':' .. id))
          if attempts and max_deliveries > 0 and attempts >= max_deliveries then
            bury(partition, band, id, attempts, 'delivered ' .. attempts .. ' times, last its consumer died', max_dead)
          else
            back(partition, band, id, attempts or unless_known, now)
          end
        end
        held = redis.call('XPENDING', stream, 'g', '-', '+', 1000, member)
      end
      -- With messages pending, this would lose them.
      redis.pcall('XGROUP', 'DELCONSUMER', stream, 'g', member)
    end
    ring_owner(partition)
  end
  forget_member(member)
end
