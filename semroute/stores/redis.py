"""State in Redis or Valkey. Every call is one Lua script, so it is atomic; the caller's clock is passed in."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from semroute.errors import StoreError
from semroute.stores.base import Verdict, Want

PREFIX = "{semroute}:"
"""One hash slot, so that the scripts work on a cluster too."""
TIMEOUT_S = 1.0
MAX_CONNECTIONS = 16
WAIT_S = 5.0
"""For a connection that is not in use."""
SETTLED_S = 3600

# A counter is a string (what was spent) and a hash of holds: hold -> "amount:expires_at".
_LEVEL = """
local function level(name, now)
  local total = tonumber(redis.call('GET', name) or '0')
  local holds = redis.call('HGETALL', name .. ':holds')
  for i = 1, #holds, 2 do
    local amount, ends = string.match(holds[i + 1], '^(-?%d+):(.+)$')
    if tonumber(ends) > now then total = total + tonumber(amount)
    else redis.call('HDEL', name .. ':holds', holds[i]) end
  end
  return total
end
"""
# KEYS: counters. ARGV: now, hold, lease, then amount, limit or '', expires_at for each. Answers the place of the
# counter without room, or 0, and the levels. Lua compares levels as doubles, exact up to 9,007 USD; INCRBY keeps them,
# exact to 64 bits.
_RESERVE = (
    _LEVEL
    + """
local now, lease = tonumber(ARGV[1]), tonumber(ARGV[3])
local levels, refused = {}, 0
for i, name in ipairs(KEYS) do
  local at = level(name, now)
  levels[i] = string.format('%.0f', at)
  local limit = ARGV[3 * i + 2]
  if refused == 0 and limit ~= '' and at + tonumber(ARGV[3 * i + 1]) > tonumber(limit) then refused = i end
end
if refused == 0 then
  for i, name in ipairs(KEYS) do
    redis.call('HSET', name .. ':holds', ARGV[2], ARGV[3 * i + 1] .. ':' .. string.format('%.3f', now + lease))
    redis.call('EXPIRE', name .. ':holds', math.max(1, math.ceil(lease)))
  end
end
return {refused, levels}
"""
)
# KEYS: the mark of the hold, then counters. ARGV: hold, seconds the mark stays, now, then amount, expires_at for each.
_SETTLE = """
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[2]) then return 0 end
local now = tonumber(ARGV[3])
for i = 2, #KEYS do
  redis.call('HDEL', KEYS[i] .. ':holds', ARGV[1])
  if ARGV[2 * i] ~= '0' then
    redis.call('INCRBY', KEYS[i], ARGV[2 * i])
    redis.call('EXPIRE', KEYS[i], math.max(1, math.ceil(tonumber(ARGV[2 * i + 1]) - now)))
  end
end
return 1
"""
_LEVELS = (
    _LEVEL
    + """
local levels = {}
for i, name in ipairs(KEYS) do levels[i] = string.format('%.0f', level(name, tonumber(ARGV[1]))) end
return levels
"""
)
_SMOOTH = """
local old = redis.call('GET', KEYS[1])
local mean = tonumber(ARGV[1])
if old then mean = tonumber(old) + tonumber(ARGV[2]) * (mean - tonumber(old)) end
local text = string.format('%.17g', mean)
redis.call('SET', KEYS[1], text, 'PX', ARGV[3])
return text
"""


class RedisState:
    """A `State`."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=WAIT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),
            health_check_interval=15,
        )
        self._redis: Any = redis.asyncio.Redis.from_pool(pool)
        register = self._redis.register_script
        self._reserve, self._settle = register(_RESERVE), register(_SETTLE)
        self._levels, self._smooth = register(_LEVELS), register(_SMOOTH)

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing where one has no room."""
        arguments: list[Any] = [self._clock(), hold, lease_s]
        for want in wants:
            arguments += [want.amount, "" if want.limit is None else want.limit, want.expires_at]
        keys = [PREFIX + want.counter for want in wants]
        refused, levels = await _asked(self._reserve(keys=keys, args=arguments))
        names = [want.counter for want in wants]
        return Verdict(names[refused - 1] if refused else None, dict(zip(names, map(int, levels), strict=True)))

    async def settle(self, hold: str, spent: Mapping[str, tuple[int, float]]) -> None:
        """Free what is held, and count what was spent."""
        arguments: list[Any] = [hold, SETTLED_S, self._clock()]
        for amount, expires_at in spent.values():
            arguments += [amount, expires_at]
        keys = [f"{PREFIX}settled:{hold}", *(PREFIX + name for name in spent)]
        await _asked(self._settle(keys=keys, args=arguments))

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """What counters have reached, held amounts included."""
        if not counters:
            return {}
        levels = await _asked(self._levels(keys=[PREFIX + name for name in counters], args=[self._clock()]))
        return dict(zip(counters, map(int, levels), strict=True))

    async def reset(self, counter: str) -> None:
        """Forget what was spent."""
        await self.delete(counter)

    async def get(self, key: str) -> bytes | None:
        """A value; null: none, or over."""
        return cast("bytes | None", await _asked(self._redis.get(PREFIX + key)))

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that there are, by their keys."""
        if not keys:
            return {}
        values = await _asked(self._redis.mget([PREFIX + key for key in keys]))
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""
        await _asked(self._redis.set(PREFIX + key, value, px=max(1, round(ttl_s * 1000))))

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one; whether it was set."""
        return bool(await _asked(self._redis.set(PREFIX + key, value, px=max(1, round(ttl_s * 1000)), nx=True)))

    async def delete(self, key: str) -> None:
        """Forget a value."""
        await _asked(self._redis.delete(PREFIX + key))

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value, and give it."""
        arguments: list[str | int | float] = [repr(value), weight, max(1, round(ttl_s * 1000))]
        return float(await _asked(self._smooth(keys=[PREFIX + key], args=arguments)))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._redis.aclose()


async def _asked(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (RedisError, OSError) as error:
        raise StoreError(f"Redis: {error or type(error).__name__}") from error
