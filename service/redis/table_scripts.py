"""The Lua scripts for the copy of the item table in Redis, which is for other programs.

See `service.replication.redis_table` for the keys of this copy.
"""

from rqrec.service.redis.scripts import LOCK_HOLDER, POSITIONS

# Reads the table's own description, and starts the time to live of its keys again.
# KEYS: whole, items, semantic-ids. ARGV: the time to live in seconds.
# Returns the epoch, the position and the count of `whole`, then the sizes of both hashes (-1 for another type).
LOOK_AT_TABLE = """
local whole = redis.pcall('HMGET', KEYS[1], 'epoch', 'position', 'count')
local items, ids = redis.pcall('HLEN', KEYS[2]), redis.pcall('HLEN', KEYS[3])
if whole.err then whole = {'', '', ''} end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[1]) end
return {whole[1] or '', whole[2] or '', whole[3] or '', type(items) == 'number' and items or -1,
  type(ids) == 'number' and ids or -1}
"""

# Writes some items. With a token, the staged hashes first take the place of the table.
# KEYS: whole, items, semantic-ids; with a token also the staged items, the staged semantic-ids and the lock.
# ARGV: 1 the lock's token or '' (nothing is staged), 2 the time to live in seconds, 3 epoch, 4 position before,
#   5 position after, 6 number of items after; then how many semantic IDs to delete and these, how many item ids to
#   delete and these; then semantic ID, item and item id of every item to write.
# Returns 1 if the table now holds the items, 0 if the table is of another epoch or lacks earlier changes.
WRITE_TABLE = f"""{POSITIONS}{LOCK_HOLDER}
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
