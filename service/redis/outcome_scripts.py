"""The Lua scripts that count what came of impressions in Redis; `service.events.redis_keys` describes the keys.

- ADD_IMPRESSIONS stores and counts impressions, and the outcomes that came before them.
- COUNT_OUTCOMES counts outcomes of impressions that are stored.
- NOTE_EARLY notes outcomes of impressions that are not stored yet.

An arm is the beginning of a JSON list with a model's version and role, `["model-1","active",`. With a part, the surface
or the bucket as JSON, it becomes the list of a cell, and with a letter before it, `i` for impressions, `c` for clicks
and `v` for conversions, a field of the counts. Surfaces with counts of their own have a field `s"home"`.
"""

_COUNT = """
local function label_of(counts, surface, most)
  if surface == '"other"' or redis.call('HEXISTS', counts, 's' .. surface) == 1 then return surface end
  if tonumber(redis.call('HGET', counts, 'surfaces') or 0) >= tonumber(most) then return '"other"' end
  redis.call('HINCRBY', counts, 'surfaces', 1)
  redis.call('HSET', counts, 's' .. surface, 1)
  return surface
end
local function count(counts, letter, arm, label, bucket)
  redis.call('HINCRBY', counts, letter .. arm .. label .. ']', 1)
  redis.call('HINCRBY', counts, letter .. arm .. bucket .. ']', 1)
end
"""

# Stores and counts impressions. What is stored already does not change.
# KEYS: impression, outcomes and counts of each impression. ARGV: 1 the counts' time to live in milliseconds, 2 most
#   surfaces; then text, time to live in milliseconds, mark of the user, arm ('' for an impression of no trial), surface
#   and bucket of each impression.
ADD_IMPRESSIONS = f"""{_COUNT}
for i = 1, #KEYS / 3 do
  local impression, outcomes, counts = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local at = 6 * i - 4
  local lives, mark, arm, bucket = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 6]
  if redis.call('SET', impression, ARGV[at + 1], 'PX', lives, 'NX') and arm ~= '' then
    local label = label_of(counts, ARGV[at + 5], ARGV[2])
    count(counts, 'i', arm, label, bucket)
    if redis.call('EXISTS', outcomes) == 1 then
      for _, letter in ipairs({{'c', 'v'}}) do
        if redis.call('SISMEMBER', outcomes, letter .. mark) == 1 and redis.call('SADD', outcomes, letter) == 1 then
          count(counts, letter, arm, label, bucket)
        end
      end
      redis.call('PEXPIRE', outcomes, lives)
    end
    redis.call('PEXPIRE', counts, ARGV[1])
  end
end
"""

# Counts outcomes that were not counted before.
# KEYS: impression, outcomes and counts of each outcome. ARGV: 1 the counts' time to live in milliseconds, 2 most
#   surfaces; then letter, arm, surface and bucket of each outcome.
COUNT_OUTCOMES = f"""{_COUNT}
for i = 1, #KEYS / 3 do
  local impression, outcomes, counts = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local at = 4 * i - 2
  local lives = redis.call('PTTL', impression)
  if lives > 0 and redis.call('SADD', outcomes, ARGV[at + 1]) == 1 then
    redis.call('PEXPIRE', outcomes, lives)
    count(counts, ARGV[at + 1], ARGV[at + 2], label_of(counts, ARGV[at + 3], ARGV[2]), ARGV[at + 4])
    redis.call('PEXPIRE', counts, ARGV[1])
  end
end
"""

# Notes outcomes for impressions that will come.
# KEYS: impression and outcomes of each outcome. ARGV: 1 the notes' time to live in milliseconds, 2 the mark of anybody;
#   then letter and mark of each outcome.
# Returns 0 for each outcome whose impression is stored by now, so that nothing was noted; else 1.
NOTE_EARLY = """
local answer = {}
for i = 1, #KEYS / 2 do
  answer[i] = 1 - redis.call('EXISTS', KEYS[2 * i - 1])
  if answer[i] == 1 then
    redis.call('SADD', KEYS[2 * i], ARGV[2 * i + 1] .. ARGV[2], ARGV[2 * i + 1] .. ARGV[2 * i + 2])
    redis.call('PEXPIRE', KEYS[2 * i], ARGV[1])
  end
end
return answer
"""
