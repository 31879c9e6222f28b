"""Runs Lua scripts inside Redis. A script is atomic: no other client sees only a part of its effects.

A script gets all its keys as arguments. The keys belong to one model version, so they lie in one slot of a cluster.

Redis does not undo what a failed script has written. But a Redis whose memory is full refuses commands of a script only
until the script has written something. So, where possible, the first write of a script is a command that needs memory.
Then a full Redis either refuses the script before it has changed anything, or runs it to its end.
"""

import functools
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoScriptError

from rqrec.service.redis.client import RedisGate


class Script(NamedTuple):
    """A script to run.

    Attributes:
        text: The Lua source code.
        keys: The keys that the script reads or writes; in a cluster all must be in one slot.
        arguments: The script's `ARGV`; Redis gets them as strings.
    """

    text: str
    keys: Sequence[str]
    arguments: Sequence[Any]


# Positions of a stream, `<milliseconds>-<number>`. Text that is not a position comes before every position.
POSITIONS = """
local function parts(position)
  local time, number = string.match(position or '', '^(%d+)-(%d+)$')
  if not time or #time > 15 or #number > 15 then return 0, 0 end  -- no clock gives such a position
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

LOCK_HOLDER = """
local function is_mine(key, token)
  local holder = redis.pcall('GET', key)
  return type(holder) == 'string' and holder == token
end
"""

# Stores the roles of the models unless Redis holds a newer revision.
# KEYS: the roles as JSON. ARGV: the new roles, the last revision that the caller knows.
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


async def evaluate(client: Redis | RedisCluster, script: Script) -> Any:
    """Runs a script and returns its answer. Sends its hash, and its text only if Redis does not know it yet.

    Args:
        client: The client of Redis.
        script: The script.
    """
    try:
        return await client.evalsha(_hash(script.text), len(script.keys), *script.keys, *script.arguments)
    except NoScriptError:
        return await client.eval(script.text, len(script.keys), *script.keys, *script.arguments)


async def evaluate_all(client: Redis | RedisCluster, scripts: Sequence[Script]) -> list[Any]:
    """Runs scripts in one round trip, and returns the answer of each.

    Args:
        client: The client of Redis.
        scripts: The scripts. If Redis does not know one of them yet, all of them run once more.
    """
    if not isinstance(client, RedisCluster):  # whose pipelines take no hashes
        by_hash = client.pipeline(transaction=False)
        for one in scripts:
            by_hash.evalsha(_hash(one.text), len(one.keys), *one.keys, *one.arguments)
        with suppress(NoScriptError):
            return list(await by_hash.execute())
    pipeline = client.pipeline(transaction=False)
    for one in scripts:
        pipeline.eval(one.text, len(one.keys), *one.keys, *one.arguments)
    return list(await pipeline.execute())


@functools.cache
def _hash(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


async def run(gate: RedisGate, script: str, keys: Sequence[str], *arguments: object) -> Any:
    """Runs a Lua script inside Redis and returns its result.

    Args:
        gate: The client of Redis.
        script: The Lua source code.
        keys: The keys that the script reads or writes; in a cluster all must be in one slot.
        arguments: The script's `ARGV`; Redis gets them as strings.

    Raises:
        RedisUnavailable: If Redis does not answer or refuses the script.
    """
    return await gate.call(evaluate, gate.client, Script(script, keys, arguments))
