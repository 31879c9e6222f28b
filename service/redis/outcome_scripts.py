"""The Lua scripts that count what came of impressions in Redis; `service.events.redis_keys` describes the keys.

- ADD_IMPRESSIONS stores and counts impressions, and the outcomes that came before them.
- COUNT_OUTCOMES counts outcomes. Those of impressions that are not stored yet wait for them.
- APPEND_AND_COUNT is APPEND_EVENTS and COUNT_OUTCOMES in one script.

An impression that counts has a head before its text. The lines of the head are the flags of the outcomes that are
counted (`--`, with `c` for a click and `v` for a conversion), the trial, the user as JSON, the arm, the surface as
JSON (`"other"` if it has no counts of its own), and the bucket.

An arm is the beginning of a JSON list with a model's version and role, `["model-1","active",`. With a part, the surface
or the bucket as JSON, it becomes the list of a cell, and with a letter before it, `i` for impressions, `c` for clicks
and `v` for conversions, a field of the counts. Surfaces with counts of their own have a field `s"home"`. The field
`about` is longer than `hash-max-listpack-value`, so Redis makes a hash table of the counts, and finds a field at once.

Notes of early outcomes are letters with the mark of a user: a hash, so no data about a person that must be deleted with
the user, or `*` for an impression without a user.
"""

from rqrec.service.redis.event_scripts import APPEND

_COUNT = """
local HEAD = '^(..)\\n([^\\n]*)\\n([^\\n]*)\\n([^\\n]*)\\n([^\\n]*)\\n([^\\n]*)\\n()'
local FLAG = {c = 1, v = 2}
local ABOUT = 'counts of one trial: impressions, clicks and conversions by arm, and by surface or bucket of users'
local added = {}
local function count(counts, letter, arm, label, bucket)
  local numbers = added[counts] or {}
  local of_surface, of_bucket = letter .. arm .. label .. ']', letter .. arm .. bucket .. ']'
  numbers[of_surface], numbers[of_bucket] = (numbers[of_surface] or 0) + 1, (numbers[of_bucket] or 0) + 1
  added[counts] = numbers
end
local function add_to_fields(counts, fields, numbers)
  local values = redis.call('HMGET', counts, unpack(fields))
  local pairs_of = {}
  for i, field in ipairs(fields) do
    pairs_of[2 * i - 1], pairs_of[2 * i] = field, (tonumber(values[i]) or 0) + numbers[i]
  end
  redis.call('HSET', counts, unpack(pairs_of))
end
local function store_counts(lives)
  for counts, numbers_of in pairs(added) do
    local fields, numbers = {}, {}
    for field, number in pairs(numbers_of) do
      fields[#fields + 1], numbers[#numbers + 1] = field, number
      if #fields == 1000 then  -- Lua's unpack has a limit
        add_to_fields(counts, fields, numbers)
        fields, numbers = {}, {}
      end
    end
    if #fields > 0 then add_to_fields(counts, fields, numbers) end
    redis.call('PEXPIRE', counts, lives)
  end
end
local function mark_of(early, user)
  return user == 'null' and '*' or redis.sha1hex(early .. user)
end
local function flag(impression, letter)
  redis.call('SETRANGE', impression, FLAG[letter] - 1, letter)
end
"""

# Stores and counts impressions. What is stored already does not change.
# KEYS: impression, early and counts of each impression. ARGV: 1 the counts' time to live in milliseconds, 2 most
#   surfaces; then text and time to live in milliseconds of each impression.
ADD_IMPRESSIONS = f"""{_COUNT}
local function label_of(counts, surface, most)
  if surface == '"other"' or redis.call('HEXISTS', counts, 's' .. surface) == 1 then return surface end
  if tonumber(redis.call('HGET', counts, 'surfaces') or 0) >= tonumber(most) then return '"other"' end
  redis.call('HINCRBY', counts, 'surfaces', 1)
  redis.call('HSET', counts, 's' .. surface, 1, 'about', ABOUT)
  return surface
end
for i = 1, #KEYS / 3 do
  local impression, early, counts = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local text, lives = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local flags, trial, user, arm, surface, bucket, rest = string.match(text, HEAD)
  local label = trial and label_of(counts, surface, ARGV[2])
  if label ~= surface then
    text = table.concat({{flags, trial, user, arm, label, bucket, string.sub(text, rest)}}, '\\n')
  end
  if redis.call('SET', impression, text, 'PX', lives, 'NX') and trial then
    count(counts, 'i', arm, label, bucket)
    if redis.call('EXISTS', early) == 1 then
      local mark = mark_of(early, user)
      for letter in pairs(FLAG) do
        if redis.call('SISMEMBER', early, letter .. mark) == 1 then
          flag(impression, letter)
          count(counts, letter, arm, label, bucket)
        end
      end
      redis.call('DEL', early)
    end
  end
end
store_counts(ARGV[1])
"""

# `key` and `at`: how many KEYS and ARGV come before those of COUNT_OUTCOMES.
_COUNT_OUTCOMES = f"""{_COUNT}
local function count_outcomes(key, at)
  local lives, early_lives, num_trials = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local counts_of, unknown = {{}}, {{}}
  for i = 1, num_trials do counts_of[ARGV[at + 3 + i]] = KEYS[key + i] end
  key = key + num_trials
  for letters, user in string.gmatch(ARGV[at + 4 + num_trials], '(%a+) ([^\\n]*)\\n') do
    local impression, early = KEYS[key + 1], KEYS[key + 2]
    key = key + 2
    local text = redis.call('GET', impression)
    if text then
      local flags, trial, owner, arm, label, bucket = string.match(text, HEAD)
      local counts = counts_of[trial or '']
      if trial and (owner == 'null' or owner == user) then
        if not counts then unknown[#unknown + 1] = trial end
        for letter in string.gmatch(counts and letters or '', '.') do
          if string.sub(flags, FLAG[letter], FLAG[letter]) ~= letter then
            flag(impression, letter)
            count(counts, letter, arm, label, bucket)
          end
        end
      end
    else
      local mark = mark_of(early, user)
      for letter in string.gmatch(letters, '.') do redis.call('SADD', early, letter .. '*', letter .. mark) end
      redis.call('PEXPIRE', early, early_lives)
    end
  end
  store_counts(lives)
  return unknown
end
"""

# Counts outcomes that were not counted before.
# KEYS: counts of each trial; then impression and early of each outcome. ARGV: 1 the counts' time to live in
#   milliseconds, 2 the time to live of early outcomes in milliseconds, 3 number of trials; then the trials; then a text
#   with a line for each outcome: its letters, a space, and the user as JSON.
# Returns the trials that are missing in ARGV. The outcomes of their impressions are not counted.
COUNT_OUTCOMES = f"{_COUNT_OUTCOMES}return count_outcomes(0, 0)"

# KEYS and ARGV: those of APPEND_EVENTS, those of COUNT_OUTCOMES; ARGV ends with the number of events.
# Returns the answers of both.
APPEND_AND_COUNT = f"""{APPEND}{_COUNT_OUTCOMES}
local num_events = tonumber(ARGV[#ARGV])
return {{append(num_events), count_outcomes(3 * num_events, 4 + 3 * num_events)}}
"""
