-- ARGV: member, mode ('join', 'beat' or 'fetch'), lease (ms), whether it wants messages, partitions, the most deliveries
-- (0: any), the most dead letters, then how many messages it takes: of what came back, and of each band.
-- Returns 'gone' where the member lives no longer; else 'ok', ms until something is due (-1: never), ms until the first
-- other member's life ends (-1), partitions it has too many, those it owns, what came back, and what is new.
local member, mode, lease_ms, wanting = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
open()
local now = now_ms()
local lived = tonumber(redis.call('ZSCORE', MEMBERS, member))
local surplus, lapse = 0, -1

if mode == 'join' then
  local known = redis.call('HGET', META, 'partitions')
  if known and known ~= ARGV[5] then return redis.error_reply('PARTITIONS ' .. known) end
  if not known then redis.call('HSET', META, 'partitions', ARGV[5]) end
  for partition = 0, ARGV[5] - 1 do
    for band = 0, 2 do
      redis.pcall('XGROUP', 'CREATE', stream_of(partition, band), 'g', '0', 'MKSTREAM')
      keep(stream_of(partition, band))
    end
  end
elseif not lived then
  return {'gone'}
end

if mode ~= 'fetch' then
  redis.call('ZADD', MEMBERS, now + lease_ms, member)
  keep(MEMBERS)
  local ended = redis.call('ZRANGEBYSCORE', MEMBERS, '-inf', now)
  for _, name in ipairs(ended) do
    if lived and lived < now then
      -- This member was away too, so perhaps it was the server that was: the others have time to say that they live.
      redis.call('ZADD', MEMBERS, now + math.ceil(lease_ms / 2), name)
    else
      sweep(name, now, 1, tonumber(ARGV[6]), ARGV[7])
    end
  end
  if wanting and redis.call('HSET', WANTING, member, 1) == 1 then
    for _, name in ipairs(redis.call('HKEYS', WANTING)) do
      if name ~= member then ring('b', name) end
    end
  end
  if not wanting then redis.call('HDEL', WANTING, member) end
  keep(WANTING)
  surplus = assign(member)
  for _, name in ipairs(redis.call('ZRANGE', MEMBERS, 0, 1)) do
    if name ~= member and lapse < 0 then lapse = redis.call('ZSCORE', MEMBERS, name) - now end
  end
end

local owned, mine = owners(), {}
for partition = 0, ARGV[5] - 1 do
  if owned[tostring(partition)] == member then mine[#mine + 1] = partition end
end
local returned, fresh, due, starved = {}, {}, -1, false
if #mine == 0 or not wanting then return {'ok', due, lapse, surplus, mine, returned, fresh} end

local clear, ends = {}, {}
for i, partition in ipairs(mine) do ends[i] = ENDED .. partition end
if redis.call('EXISTS', unpack(ends)) == 0 then
  clear = mine
else
  local left = tonumber(ARGV[8])
  for _, partition in ipairs(mine) do
    local key = ENDED .. partition
    local names = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, left + 1)
    -- New messages wait until all that came back is taken, so that none passes an older one of its trace.
    if #names <= left then clear[#clear + 1] = partition end
    for i = 1, math.min(#names, left) do
      local id, band = parse_back(names[i])
      local entry = redis.call('XCLAIM', stream_of(partition, band), 'g', member, 0, id)[1]
      redis.call('ZREM', key, names[i])
      redis.call('HDEL', K .. ':h:' .. partition, names[i])
      if entry and entry[2] then
        local attempts = redis.call('HGET', ATTEMPTS, partition .. ':' .. band .. ':' .. id) or 0
        returned[#returned + 1] = {partition .. ':' .. band, id, entry[2][2], attempts}
        left = left - 1
      else
        remove(partition, band, id)
      end
    end
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] then
      local wait = math.max(0, first[2] - now)
      if due < 0 or wait < due then due = wait end
    end
  end
  starved = left > 0
end

-- Puts a new message behind the delayed ones of its trace, if there are any; returns whether it did.
local function held_back(partition, band, entry, held)
  local fine, message = pcall(cjson.decode, entry[2][2])
  local trace = fine and type(message) == 'table' and message.trace_id
  local until_ms = type(trace) == 'string' and held[trace]
  if not until_ms then return false end
  back(partition, band, entry[1], 0, until_ms, trace)
  return true
end

local function held_traces(partition)
  local flat = redis.call('HGETALL', K .. ':h:' .. partition)
  if #flat == 0 then return nil end
  local held = {}
  for i = 1, #flat, 2 do
    local score = tonumber(redis.call('ZSCORE', ENDED .. partition, flat[i])) or now
    held[flat[i + 1]] = math.max(held[flat[i + 1]] or 0, score)
  end
  return held
end

local function read(band, want, from)
  if want == 0 or #from == 0 then return 0 end
  local call = {'XREADGROUP', 'GROUP', 'g', member, 'COUNT', math.ceil(want / #from), 'STREAMS'}
  for _, partition in ipairs(from) do call[#call + 1] = stream_of(partition, band) end
  for _ = 1, #from do call[#call + 1] = '>' end
  local reply = redis.pcall(unpack(call))
  if type(reply) == 'table' and reply.err then return nil end
  local got, again = 0, {}
  for _, part in ipairs(reply or {}) do
    local place = string.sub(part[1], #K + 4)
    local partition = string.match(place, '^%d+')
    local held, entries = held_traces(partition), part[2]
    if #entries >= call[6] then again[#again + 1] = partition end
    if held then
      local free = {}
      for _, entry in ipairs(entries) do
        if not held_back(partition, band, entry, held) then free[#free + 1] = entry end
      end
      entries = free
    end
    if #entries > 0 then fresh[#fresh + 1] = {place, entries} end
    got = got + #entries
  end
  if got < want and #again > 0 then
    local more = read(band, want - got, again)
    if not more then return nil end
    got = got + more
  end
  return got
end

for band = 0, 2 do
  local want = tonumber(ARGV[9 + band])
  local got = read(band, want, clear)
  if not got then return {'gone'} end
  starved = starved or got < want
end
if starved then
  redis.call('HSET', IDLE, member, 1)
  keep(IDLE)
end
return {'ok', due, lapse, surplus, mine, returned, fresh}
