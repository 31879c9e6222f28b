"""What happens inside Redis in one step, in its own language (Lua), so that no other replica sees half of it.

Every script gets its keys, all of one model version and so in one slot of a cluster. A script begins with a command
that a full Redis refuses, if it has one: Redis refuses only the first, and would carry out the rest.
"""

from collections.abc import Sequence
from typing import Any

from rqrec.service.redis.client import RedisGate

_POSITIONS = """
local function parts(position)
  local time, number = string.match(position or '', '^(%d+)-(%d+)$')
  if not time or #time > 15 or #number > 15 then return 0, 0 end  -- no clock's
  return tonumber(time), tonumber(number)
end
local function is_before(one, other)
  local time, number = parts(one)
  local other_time, other_number = parts(other)
  return time < other_time or (time == other_time and number < other_number)
end
local function next_of(position)
  local time, number = parts(position)
  local now = redis.call('TIME')
  local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  if now_ms > time then return string.format('%.0f-0', now_ms) end
  return string.format('%.0f-%.0f', time, number + 1)
end
"""
# A position that no clock gives, such as the largest of all, would be the last one ever: nothing could follow it.
_DROP_IMPOSSIBLE = """
local function is_possible(position)
  local time, number = string.match(position, '^(%d+)-(%d+)$')
  return #time <= 15 and #number <= 15
end
local function drop_impossible(key, floor)
  local last, is_dropped = floor, false
  while true do
    local found = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
    if found.err then return end
    if not found[1] then break end
    last = found[1][1]
    if is_possible(last) then break end
    redis.call('XDEL', key, last)
    last, is_dropped = floor, true
  end
  if is_dropped then redis.pcall('XSETID', key, last) end
end
"""
_LOG_TAG = """
local function tag_of(key)
  local fields = redis.pcall('HGETALL', key)
  if fields.err then fields = {} end
  return redis.sha1hex(redis.call('TYPE', key).ok .. table.concat(fields, ' '))
end
"""
_WRITE_LOG = """
local function write_log(key, epoch, position, version, count, digest, cut_after)
  local check = redis.sha1hex(table.concat({epoch, position, version, count, digest, cut_after}, ' '))
  redis.call('HSET', key, 'epoch', epoch, 'position', position, 'catalogue_version', version, 'count', count,
    'digest', digest, 'cut_after', cut_after, 'check', check)
end
"""
# A lock always expires. What never does was not written by this software.
_LOCKS = """
local function is_mine(key, token)
  local holder = redis.pcall('GET', key)
  return type(holder) == 'string' and holder == token
end
"""

LOCK = """
if redis.call('PTTL', KEYS[1]) >= 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

KEEP_LOCK = f"""{_LOCKS}
if not is_mine(KEYS[1], ARGV[1]) then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

UNLOCK = f"""{_LOCKS}
if is_mine(KEYS[1], ARGV[1]) then redis.call('DEL', KEYS[1]) end
return 1
"""

# Keys: log, entries, stream, reading. Arguments: a position, and how many events after it, of how many bytes, and how
# long each.
LOOK = f"""{_LOG_TAG}{_DROP_IMPOSSIBLE}
drop_impossible(KEYS[3], ARGV[1])
local log, entries, size = redis.pcall('HGETALL', KEYS[1]), redis.pcall('HLEN', KEYS[2]), redis.pcall('XLEN', KEYS[3])
if log.err then log = {{}} end
if type(entries) ~= 'number' then entries = -1 end
if type(size) ~= 'number' then size = -1 end
local first, last, events, bytes, after = '', '', {{}}, 0, ARGV[1]
if size > 0 then
  first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1][1]
  last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1][1]
end
while size > 0 and #events < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  local found = redis.call('XRANGE', KEYS[3], '(' .. after, '+', 'COUNT', 20)
  for _, event in ipairs(found) do
    local fields, names = {{}}, event[2]
    for i = 1, #names, 2 do
      if #names[i + 1] <= tonumber(ARGV[4]) then fields[names[i]] = names[i + 1] end
    end
    after = event[1]
    bytes = bytes + #(fields.change or '')
    events[#events + 1] = {{after, fields.change or '', fields.token or '', fields.origin or '', fields.at or '',
      fields.prev or false}}
  end
  if #found < 20 then break end
end
local is_read = redis.call('PTTL', KEYS[4]) > 0
return {{log, tag_of(KEYS[1]), entries, size, first, last, is_read and 1 or 0, events}}
"""

# Keys: stream. Arguments: a position that all events come after; then change, token, origin and stamp of each.
APPEND = f"""{_POSITIONS}{_DROP_IMPOSSIBLE}
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'stream' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end  -- replicas put the stream back
drop_impossible(KEYS[1], ARGV[1])
local tail = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local prev = tail and tail[1] or ''
local floor = is_before(prev, ARGV[1]) and ARGV[1] or prev
for i = 2, #ARGV, 4 do
  local function add(position)
    return redis.pcall('XADD', KEYS[1], position, 'change', ARGV[i], 'token', ARGV[i + 1], 'origin', ARGV[i + 2],
      'at', ARGV[i + 3], 'prev', prev)
  end
  local added = add(next_of(floor))
  if added.err and redis.call('EXISTS', KEYS[1]) == 1 then  -- an event that is gone was later than any clock
    redis.pcall('XSETID', KEYS[1], floor)
    added = add(next_of(floor))
  end
  if added.err then return added end
  prev, floor = added, added
end
return prev
"""

# The same, if a field of a hash (the second key; the next two arguments) is as expected; it becomes the third argument.
APPEND_CARRIED = f"""
local found = redis.pcall('HGET', KEYS[2], ARGV[1])
if type(found) ~= 'string' or found ~= ARGV[2] then return 0 end
redis.call('XLEN', KEYS[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
for _ = 1, 3 do table.remove(ARGV, 1) end
if #ARGV == 1 then return 1 end
{APPEND.replace("return prev", "return 1")}
"""

# Keys: a hash. What is no hash goes.
READ_HASH = """
local fields = redis.pcall('HGETALL', KEYS[1])
if fields.err then
  redis.call('DEL', KEYS[1])
  return {}
end
return fields
"""

# Keys: a hash. Arguments: the cursor, how many.
READ_HASH_PAGE = """
local page = redis.pcall('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
if page.err then return {'0', {}} end
return page
"""

# Keys: entries, and a key that says that somebody reads them. Arguments: the cursor, how many, how long that takes.
READ_ENTRIES = """
redis.pcall('SET', KEYS[2], '1', 'PX', ARGV[3])
local page = redis.pcall('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
if page.err then return {'0', {}} end
return page
"""

# Keys: log, entries, stream, staged entries, reading. Arguments: epoch and position that the log names; then its new
# position, version, count and digest.
SAVE = f"""{_WRITE_LOG}
if redis.call('PTTL', KEYS[5]) > 0 then return 0 end
local found = redis.call('HMGET', KEYS[1], 'epoch', 'position')
if found[1] ~= ARGV[1] or found[2] ~= ARGV[2] then return 0 end
local staged = redis.call('HGETALL', KEYS[4])
for i = 1, #staged, 2 do redis.call('HSET', KEYS[2], staged[i], staged[i + 1]) end
write_log(KEYS[1], ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[2])
-- Not XTRIM: in some releases its MINID removes too much of a stream whose events lie far apart.
while true do
  local gone = redis.call('XRANGE', KEYS[3], '-', '(' .. ARGV[2], 'COUNT', 100)
  if #gone == 0 then break end
  for _, event in ipairs(gone) do redis.call('XDEL', KEYS[3], event[1]) end
end
redis.call('DEL', KEYS[4])
return 1
"""

# Keys: log, entries, stream, staged entries, lock. Arguments: lock's token and life, tag of the log, last event that
# the caller knows, first position of the new epoch, then the log: epoch, version, count, digest.
BEGIN = f"""{_POSITIONS}{_LOG_TAG}{_LOCKS}{_WRITE_LOG}
if not is_mine(KEYS[5], ARGV[1]) or tag_of(KEYS[1]) ~= ARGV[3] then return 0 end
if redis.call('HLEN', KEYS[4]) ~= tonumber(ARGV[8]) then return 0 end
redis.call('SET', KEYS[5], ARGV[1], 'PX', ARGV[2])
local later = redis.pcall('XRANGE', KEYS[3], '(' .. ARGV[4], '+')
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
if tonumber(ARGV[8]) > 0 then
  redis.call('RENAME', KEYS[4], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
local prev = redis.call('XADD', KEYS[3], ARGV[5], 'change', 'nothing')
for _, event in ipairs(later.err and {{}} or later) do
  local fields = {{change = '', token = '', origin = '', at = ''}}
  for i = 1, #event[2], 2 do
    if fields[event[2][i]] then fields[event[2][i]] = event[2][i + 1] end
  end
  local position = is_before(prev, event[1]) and event[1] or next_of(prev)
  prev = redis.call('XADD', KEYS[3], position, 'change', fields.change, 'token', fields.token,
    'origin', fields.origin, 'at', fields.at, 'prev', prev)
end
write_log(KEYS[1], ARGV[6], ARGV[5], ARGV[7], ARGV[8], ARGV[9], ARGV[5])
return 1
"""

# Keys: roles of models, as JSON. Arguments: others, and the last revision that the caller knows.
GIVE_ROLES = """
local stored, revision = redis.pcall('GET', KEYS[1]), 0
if type(stored) == 'string' then
  local is_json, fields = pcall(cjson.decode, stored)
  if is_json and type(fields) == 'table' then revision = tonumber(fields.revision) or 0 end
end
if revision > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

# Keys: whole, items, semantic ids.
LOOK_AT_TABLE = """
local whole = redis.pcall('HMGET', KEYS[1], 'epoch', 'position', 'count')
local items, ids = redis.pcall('HLEN', KEYS[2]), redis.pcall('HLEN', KEYS[3])
if whole.err then whole = {'', '', ''} end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[1]) end
return {whole[1] or '', whole[2] or '', whole[3] or '', type(items) == 'number' and items or -1,
  type(ids) == 'number' and ids or -1}
"""

# Keys: whole, items, semantic ids, and, to put other ones in their place, these staged, and the lock. Arguments: the
# lock's token (none: nothing is staged), seconds to live; epoch, position before and after, count; how many semantic
# ids go, those, how many item ids go, those; then semantic id, item and item id of each item that comes.
WRITE_TABLE = f"""{_POSITIONS}{_LOCKS}
local whole = redis.pcall('HMGET', KEYS[1], 'epoch', 'position')
if whole.err then whole = {{}} end
local is_same = whole[1] == ARGV[3] and whole[2]
if ARGV[1] == '' then
  if not is_same or is_before(whole[2], ARGV[4]) then return 0 end
  if not is_before(whole[2], ARGV[5]) then return 1 end
  redis.call('HSET', KEYS[1], 'position', ARGV[5], 'count', ARGV[6])
else
  if not is_mine(KEYS[6], ARGV[1]) or (is_same and is_before(ARGV[5], whole[2])) then return 0 end
  if redis.call('EXISTS', KEYS[4], KEYS[5]) ~= 2 then return 0 end
  redis.call('SET', KEYS[6], ARGV[1], 'EX', 30)
  redis.call('RENAME', KEYS[4], KEYS[2])
  redis.call('RENAME', KEYS[5], KEYS[3])
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'position', ARGV[5], 'count', ARGV[6])
end
local i = 7
for key = 2, 3 do
  local last = i + tonumber(ARGV[i])
  for place = i + 1, last do redis.call('HDEL', KEYS[key], ARGV[place]) end
  i = last + 1
end
for place = i, #ARGV, 3 do
  redis.call('HSET', KEYS[2], ARGV[place], ARGV[place + 1])
  redis.call('HSET', KEYS[3], ARGV[place + 2], ARGV[place])
end
for key = 1, 3 do redis.call('EXPIRE', KEYS[key], ARGV[2]) end
return 1
"""


async def run(gate: RedisGate, script: str, keys: Sequence[str], *arguments: object) -> Any:
    """What a script of this file returns.

    Raises:
        RedisUnavailable: If Redis is, or refuses.
    """
    return await gate.call(gate.client.eval, script, len(keys), *keys, *arguments)
