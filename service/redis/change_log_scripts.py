"""The Lua scripts that read and write the change log in Redis; `service.replication.change_log` describes its keys.

The log has a stream (one event for each change), entries (the content of each written item) and a header, which
summarises both.

- LOOK reads the header, the number of entries and events, and the next events, all at one moment.
- READ_ENTRIES reads a page of the entries, READ_HASH any hash, and READ_HASH_PAGE a page of any hash.
- APPEND adds events to the stream, and APPEND_MIGRATED events that were copied from another model's log.
- SAVE stores entries and a later header, and deletes old events from the stream.
- BEGIN repairs the log: it replaces the header, the entries and the stream by new ones.
- GET_OR_SET reads, and SET_FIELD sets, how far the changes in another model's log were copied to this log.
"""

from rqrec.service.redis.scripts import LOCK_HOLDER, POSITIONS

# Deletes events at positions that no clock gives, for example the largest position: no event could follow them.
_DROP_IMPOSSIBLE = """
local function is_possible(position)
  local time, number = string.match(position, '^(%d+)-(%d+)$')
  return #time <= 15 and #number <= 14  -- a digit less than replicas accept, so that events can follow
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

# A hash of the header: it differs whenever the header differs, whatever the key holds.
_HEADER_TAG = """
local function tag_of(key)
  local fields = redis.pcall('HGETALL', key)
  if fields.err then fields = {} end
  return redis.sha1hex(redis.call('TYPE', key).ok .. table.concat(fields, ' '))
end
"""

_WRITE_HEADER = """
local function write_header(key, epoch, position, version, count, digest, cut_after)
  local check = redis.sha1hex(table.concat({epoch, position, version, count, digest, cut_after}, ' '))
  redis.call('HSET', key, 'epoch', epoch, 'position', position, 'catalogue_version', version, 'count', count,
    'digest', digest, 'cut_after', cut_after, 'check', check)
end
"""

# Reads the change log at one moment.
# KEYS: header, entries, stream, reading. ARGV: a position, how many events after it, how many bytes of events, and the
#   longest change in bytes (a longer one is returned as '').
# Returns the header's fields, its tag, the number of entries, the number of events, the first and the last position,
#   whether a replica reads the entries, and the events. A number is -1 where the key has another type.
LOOK = f"""{_HEADER_TAG}{_DROP_IMPOSSIBLE}
drop_impossible(KEYS[3], ARGV[1])
local header = redis.pcall('HGETALL', KEYS[1])
local entries, size = redis.pcall('HLEN', KEYS[2]), redis.pcall('XLEN', KEYS[3])
if header.err then header = {{}} end
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
return {{header, tag_of(KEYS[1]), entries, size, first, last, is_read and 1 or 0, events}}
"""

# Appends events; every event names the event before it.
# KEYS: stream. ARGV: a position that all new events come after; then change, token, origin and stamp of each.
# Returns the position of the last event.
APPEND = f"""{POSITIONS}{_DROP_IMPOSSIBLE}
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'stream' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end  -- the replicas repair the stream later
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
  if added.err and redis.call('EXISTS', KEYS[1]) == 1 then  -- a deleted event had a position later than any clock
    redis.pcall('XSETID', KEYS[1], floor)
    added = add(next_of(floor))
  end
  if added.err then return added end
  prev, floor = added, added
end
return prev
"""

# Appends migrated events if the source's migration is still at the expected position, and moves it on.
# KEYS: stream, carried (a hash). ARGV: the source's field in the hash, its expected value, its new value; then as
#   APPEND. Returns 1, or 0 if the value was another one.
APPEND_MIGRATED = f"""
local found = redis.pcall('HGET', KEYS[2], ARGV[1])
if type(found) ~= 'string' or found ~= ARGV[2] then return 0 end
redis.call('XLEN', KEYS[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
for _ = 1, 3 do table.remove(ARGV, 1) end
if #ARGV == 1 then return 1 end
{APPEND.replace("return prev", "return 1")}
"""

# Sets a field of a hash; deletes a key of another type first. KEYS: the hash. ARGV: the field, its value.
SET_FIELD = """
local done = redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])
if type(done) == 'table' and done.err then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 1
"""

# Reads a field of a hash, and sets it first if it is missing; deletes a key of another type first.
# KEYS: the hash. ARGV: the field, its first value.
GET_OR_SET = """
local found = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(found) == 'string' then return found end
if type(found) == 'table' then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ARGV[2]
"""

# Reads a hash; deletes the key if it has another type. KEYS: the hash.
READ_HASH = """
local fields = redis.pcall('HGETALL', KEYS[1])
if fields.err then
  redis.call('DEL', KEYS[1])
  return {}
end
return fields
"""

# Reads a page of a hash. KEYS: the hash. ARGV: the cursor, the page's size.
READ_HASH_PAGE = """
local page = redis.pcall('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
if page.err then return {'0', {}} end
return page
"""

# Reads a page of the entries and marks them as being read. KEYS: entries, reading.
# ARGV: the cursor, the page's size, the mark's time to live in milliseconds.
READ_ENTRIES = """
redis.pcall('SET', KEYS[2], '1', 'PX', ARGV[3])
local page = redis.pcall('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
if page.err then return {'0', {}} end
return page
"""

# Adds the staged entries to the entries, moves the header on, and cuts the stream before the header's old position.
# KEYS: header, entries, stream, staged entries, reading. ARGV: the epoch and the position that the header must name;
#   then the header's new position, catalogue version, count and digest.
# Returns 1, or 0 if the header is another one or a replica reads the entries.
SAVE = f"""{_WRITE_HEADER}
if redis.call('PTTL', KEYS[5]) > 0 then return 0 end
local found = redis.call('HMGET', KEYS[1], 'epoch', 'position')
if found[1] ~= ARGV[1] or found[2] ~= ARGV[2] then return 0 end
local staged = redis.call('HGETALL', KEYS[4])
for i = 1, #staged, 2 do
  if staged[i + 1] == '' then  -- the item was forgotten
    redis.call('HDEL', KEYS[2], staged[i])
  else
    redis.call('HSET', KEYS[2], staged[i], staged[i + 1])
  end
end
write_header(KEYS[1], ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[2])
-- Not XTRIM: in some Redis releases its MINID deletes too much of a stream whose events lie far apart.
while true do
  local gone = redis.call('XRANGE', KEYS[3], '-', '(' .. ARGV[2], 'COUNT', 100)
  if #gone == 0 then break end
  for _, event in ipairs(gone) do redis.call('XDEL', KEYS[3], event[1]) end
end
redis.call('DEL', KEYS[4])
return 1
"""

# Starts a new epoch: the staged entries and a new header replace the old ones. Events that the caller does not know
# are appended again in the new epoch.
# KEYS: header, entries, stream, staged entries, lock. ARGV: 1 the lock's token, 2 its time to live in milliseconds,
#   3 the tag of the header that the caller knows, 4 the last event that the caller knows, 5 the first position of the
#   new epoch; then the new header: 6 epoch, 7 catalogue version, 8 count, 9 digest.
# Returns 1, or 0 if the lock is lost, the header is another one, or staged entries are missing.
BEGIN = f"""{POSITIONS}{_HEADER_TAG}{LOCK_HOLDER}{_WRITE_HEADER}
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
write_header(KEYS[1], ARGV[6], ARGV[5], ARGV[7], ARGV[8], ARGV[9], ARGV[5])
return 1
"""
