"""The store's steps as scripts: each is one call, checked before its first write, on one slot of the cluster.

A run-time error inside a script leaves what it wrote before; so tokens, numbers and the types of all keys are checked
first. ``unpack`` has a limit, so long lists are written in chunks.
"""

from __future__ import annotations

_COMMON = """
local CHUNK = 1000
local function expect(key, kind)
  local found = redis.call('TYPE', key)['ok']
  if found ~= 'none' and found ~= kind then
    error({err = 'RAPPORT ' .. key .. ' is a ' .. found .. ', not a ' .. kind})
  end
end
local function chunked(command, key, list)
  for first = 1, #list, CHUNK do
    redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
  end
end
"""

# KEYS: meta outbox. ARGV: token
TAKE = """
redis.call('HSET', KEYS[1], 'token', ARGV[1])
return {redis.call('HMGET', KEYS[1], 'seq', 'pos', 'pub', 'state', 'topic'), redis.call('GET', KEYS[2]) or ''}
"""

# KEYS: timers profiles tombstones. ARGV: until limit #customers customer... and, to look for tombstones, a name for each
LOAD = (
    _COMMON
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2] + 1)
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local wanted, seen = {}, {}
local function want(customer)
  if not seen[customer] then
    seen[customer] = true
    wanted[#wanted + 1] = customer
  end
end
local asked, names = tonumber(ARGV[3]), {}
for i = 4, asked + 3 do
  want(ARGV[i])
  names[ARGV[i]] = ARGV[i + asked]
end
for i = 1, math.min(#due, 2 * ARGV[2]), 2 do want(string.match(due[i], '^(.-)%z')) end
local profiles = {}
for first = 1, #wanted, CHUNK do
  local part = redis.call('HMGET', KEYS[2], unpack(wanted, first, math.min(first + CHUNK - 1, #wanted)))
  for i = 1, #part do profiles[#profiles + 1] = part[i] end
end
if #ARGV > asked + 3 then
  for i = 1, #wanted do
    local name = names[wanted[i]]
    if name and not profiles[i] then profiles[i] = redis.call('HGET', KEYS[3], name) end
  end
end
return {due, later, wanted, profiles}
"""
)

# KEYS: meta outbox profiles timers wal models tombstones kept-until
# ARGV: token seq pos state topic outbox #profiles #set #removed #examples models|'' #forgotten #tombstones #raised clock
# purged and then the lists
COMMIT = (
    _COMMON
    + """
local token, seq = unpack(redis.call('HMGET', KEYS[1], 'token', 'seq'))
if token ~= ARGV[1] then return 'FENCED' end
seq = tonumber(seq or 0)
if seq == tonumber(ARGV[2]) + 1 then return 'DONE' end
if seq ~= tonumber(ARGV[2]) then return 'ROLLED_BACK' end
expect(KEYS[1], 'hash') expect(KEYS[2], 'string') expect(KEYS[3], 'hash')
expect(KEYS[4], 'zset') expect(KEYS[5], 'list') expect(KEYS[6], 'string')
expect(KEYS[7], 'hash') expect(KEYS[8], 'zset')
local at = 17
local function take(count)
  local list = {}
  for i = 1, count do list[i] = ARGV[at + i - 1] end
  at = at + count
  return list
end
local profiles, set = take(2 * ARGV[7]), take(2 * ARGV[8])
local removed, examples = take(tonumber(ARGV[9])), take(tonumber(ARGV[10]))
local forgotten, tombstones = take(tonumber(ARGV[12])), take(2 * ARGV[13])
local kept, raised = take(2 * ARGV[13]), take(tonumber(ARGV[14]))
for _, dues in ipairs({set, kept}) do
  for i = 1, #dues, 2 do
    if not tonumber(dues[i]) then error({err = 'RAPPORT something is due at no number'}) end
  end
end
if not tonumber(ARGV[15]) then error({err = 'RAPPORT a clock that is no number'}) end
if at ~= #ARGV + 1 then error({err = 'RAPPORT a commit of another length'}) end
chunked('HSET', KEYS[3], profiles)
chunked('HDEL', KEYS[3], forgotten)
chunked('HSET', KEYS[7], tombstones)
chunked('ZADD', KEYS[8], kept)
chunked('HDEL', KEYS[7], raised)
chunked('ZREM', KEYS[8], raised)
local over = redis.call('ZRANGEBYSCORE', KEYS[8], '-inf', ARGV[15], 'LIMIT', 0, ARGV[16])
chunked('HDEL', KEYS[7], over)
chunked('ZREM', KEYS[8], over)
chunked('ZREM', KEYS[4], removed)
chunked('ZADD', KEYS[4], set)
if ARGV[11] ~= '' then
  redis.call('SET', KEYS[6], ARGV[11])
  redis.call('DEL', KEYS[5])
end
chunked('RPUSH', KEYS[5], examples)
if ARGV[6] ~= '' then redis.call('SET', KEYS[2], ARGV[6]) else redis.call('DEL', KEYS[2]) end
redis.call('HSET', KEYS[1], 'seq', seq + 1, 'pos', ARGV[3], 'state', ARGV[4], 'topic', ARGV[5])
return 'OK'
"""
)

# KEYS: meta outbox. ARGV: token seq pub
PUBLISHED = """
local token, seq, pub = unpack(redis.call('HMGET', KEYS[1], 'token', 'seq', 'pub'))
if token ~= ARGV[1] or not seq then return 0 end
local function place(text)
  local offset, n = string.match(text, '^(%d+),(%d+)$')
  return tonumber(offset), tonumber(n)
end
local offset, n = place(ARGV[3])
local last, index = -1, 0
if pub then last, index = place(pub) end
if offset > last or (offset == last and n > index) then redis.call('HSET', KEYS[1], 'pub', ARGV[3]) end
if tonumber(seq) == tonumber(ARGV[2]) then redis.call('DEL', KEYS[2]) end
return 1
"""

# KEYS: versions lease data. ARGV: token before version offset data keep keep_bytes
# The list holds "version,offset,bytes" in order, the hash the data by offset: no step reads a snapshot but the one asked for.
SNAP = (
    _COMMON
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
expect(KEYS[1], 'list') expect(KEYS[3], 'hash')
local kept = redis.call('LRANGE', KEYS[1], 0, -1)
local function part(entry, n) return tonumber(string.match(entry, '^' .. string.rep('%d+,', n) .. '(%d+)')) end
local last = #kept > 0 and part(kept[#kept], 1) or -1
local new = ARGV[3] .. ',' .. ARGV[4] .. ',' .. #ARGV[5]
if kept[#kept] == new and redis.call('HGET', KEYS[3], ARGV[4]) == ARGV[5] then return 1 end
if last ~= tonumber(ARGV[2]) or tonumber(ARGV[4]) <= last then return 0 end
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
redis.call('RPUSH', KEYS[1], new)
local most, room = tonumber(ARGV[6]) - 1, tonumber(ARGV[7]) - #ARGV[5]
local first = #kept + 1
while first > 1 and most > 0 and room >= part(kept[first - 1], 2) do
  first, most, room = first - 1, most - 1, room - part(kept[first - 1], 2)
end
for i = 1, first - 1 do
  redis.call('LPOP', KEYS[1])
  redis.call('HDEL', KEYS[3], string.match(kept[i], '^%d+,(%d+)'))
end
return 1
"""
)
