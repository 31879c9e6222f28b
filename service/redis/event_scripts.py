"""The Lua scripts of the event store in Redis; `service.events.redis_keys` describes its keys.

- APPEND_EVENTS stores events that are not stored yet.
- FORGET_USER deletes a user's history and impressions, and adds to the stream that the user was forgotten.
- FIND_EVENTS reads, and DROP_EVENTS deletes, a user's events in a part of the stream.
- TRIM_EVENTS deletes the beginning of the stream.
- READ_HISTORIES reads users' histories, where `service.redis.quick_reads` cannot.
- ADD_SHOWN adds to the impressions of users.
"""

# Adds an entry to a list in the order of the entries' times; an entry is a JSON list that begins with its time.
_ADD_ENTRY = """
local function time_of(entry)
  return tonumber(string.match(entry, '^%[([^,]+)'))
end
local function add_entry(key, entry, most, lives_ms)
  local last = redis.call('LINDEX', key, -1)
  if not last or time_of(last) <= time_of(entry) then
    redis.call('RPUSH', key, entry)
  else
    for _, other in ipairs(redis.call('LRANGE', key, 0, -1)) do
      if time_of(other) > time_of(entry) then
        redis.call('LINSERT', key, 'BEFORE', other, entry)  -- the first entry that equals the other is the other
        break
      end
    end
  end
  redis.call('LTRIM', key, -most, -1)
  redis.call('PEXPIRE', key, lives_ms)
end
"""

APPEND = f"""{_ADD_ENTRY}
local function append(num_events)
  local answer = {{}}
  for i = 1, num_events do
    local mark, stream, history = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
    local user, event, entry = ARGV[3 * i + 2], ARGV[3 * i + 3], ARGV[3 * i + 4]
    if redis.call('SET', mark, ARGV[1], 'PX', ARGV[2], 'NX') then
      redis.call('XADD', stream, '*', 'user', user, 'event', event)
      if entry ~= '' then add_entry(history, entry, ARGV[3], ARGV[4]) end
      answer[i] = 1
    else
      answer[i] = redis.call('GET', mark) == ARGV[1] and 1 or 0
    end
  end
  return answer
end
"""

# Stores events. An event is new if its mark does not exist, or if this call has set it: in a try whose answer was lost.
# KEYS: mark, stream and history of each event. ARGV: 1 the call's token, 2 the marks' time to live in milliseconds,
#   3 most entries of a history, 4 a history's time to live in milliseconds; then user, event and history entry ('' for
#   none) of each event.
# Returns 1 for each event that is new, else 0.
APPEND_EVENTS = f"{APPEND}return append(#KEYS / 3)"

# Deletes a user's history and impressions, and adds a record without an event to the stream.
# KEYS: stream, history, shown. ARGV: user.
# Returns the position of the record.
FORGET_USER = """
redis.call('UNLINK', KEYS[2], KEYS[3])  -- before XADD, so that a Redis whose memory is full runs this script
return redis.call('XADD', KEYS[1], '*', 'user', ARGV[1])
"""

_EVENTS_OF_USER = """
local found = redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local positions, events = {}, {}
for _, record in ipairs(found) do
  if record[2][2] == ARGV[1] and record[2][4] then
    positions[#positions + 1] = record[1]
    events[#events + 1] = record[2][4]
  end
end
local next_position = #found == tonumber(ARGV[4]) and found[#found][1] or ''
"""

# KEYS: stream. ARGV: user, the position before the part, its last position, most records of the part.
# Returns the position from which to go on ('' at the end), the positions of the user's events, and these events.
FIND_EVENTS = f"""{_EVENTS_OF_USER}
return {{next_position, positions, events}}
"""

# KEYS and ARGV: as for FIND_EVENTS. Returns the position from which to go on ('' at the end).
DROP_EVENTS = f"""{_EVENTS_OF_USER}
if #positions > 0 then redis.call('XDEL', KEYS[1], unpack(positions)) end
return next_position
"""

# KEYS: stream. ARGV: the last position to delete, most records to delete. Returns how many were deleted.
# Not XTRIM: in some Redis releases its MINID deletes too much of a stream whose records lie far apart.
TRIM_EVENTS = """
local found = redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', ARGV[2])
local positions = {}
for i, record in ipairs(found) do positions[i] = record[1] end
if #found > 0 then redis.call('XDEL', KEYS[1], unpack(positions)) end
return #found
"""

# Reads histories. KEYS: the history of each user. ARGV: most entries of a history.
# Returns the last entries of each history as one JSON list, which costs a client less than many texts.
READ_HISTORIES = """
local histories = {}
for i, key in ipairs(KEYS) do
  histories[i] = '[' .. table.concat(redis.call('LRANGE', key, -ARGV[1], -1), ',') .. ']'
end
return histories
"""

# Adds impressions of users. KEYS: shown of each impression. ARGV: 1 the time until which impressions have expired,
#   2 most impressions of a user, 3 the time to live in milliseconds; then time and impression of each.
# Returns the impressions that are too many for their users and were deleted.
ADD_SHOWN = """
local users, surplus = {}, {}
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, ARGV[2 * i + 2], ARGV[2 * i + 3])
  users[key] = true
end
for _, key in ipairs(KEYS) do
  if users[key] then
    users[key] = nil
    redis.call('PEXPIRE', key, ARGV[3])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[1])
    local oldest = redis.call('ZRANGE', key, 0, -1 - tonumber(ARGV[2]))
    if #oldest > 0 then redis.call('ZREMRANGEBYRANK', key, 0, #oldest - 1) end
    for _, impression in ipairs(oldest) do surplus[#surplus + 1] = impression end
  end
end
return surplus
"""
