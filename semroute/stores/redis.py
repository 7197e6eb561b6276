"""The shared state in Redis or Valkey. Each call is one Lua script, so it is atomic. The caller passes the time."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from semroute.errors import StoreError
from semroute.stores.interfaces import (
    BASE,
    EPOCH,
    EPOCH_S,
    FILLED,
    LOST_BEATS,
    OWNER_CHARS,
    Beats,
    SharedState,
    Verdict,
    Want,
    owner_of,
)

log = logging.getLogger("semroute.state")

PREFIX = "{semroute}:"
"""The prefix of all keys. Its braces put them in one hash slot, so that the scripts also work on a cluster."""
TIMEOUT_S = 1.0
MAX_CONNECTIONS = 16
WAIT_S = 30.0
"""Seconds to wait for a free connection of the pool."""
HOLDS_S = 86_400
"""Seconds for which the holds on a counter are kept after the last one was made."""

# A counter is a string (what was spent) and a hash of holds: hold -> "amount:expires_at". One more hash says how often
# each owner said that it lives. A hold does not count if its owner is not in that hash.
_LEVEL = f"""
local OWNERS, EPOCH = '{PREFIX}owners', '{PREFIX}{EPOCH}'
local living = {{}}
local function lives(hold)
  if string.sub(hold, {OWNER_CHARS + 1}, {OWNER_CHARS + 1}) ~= '/' then return true end
  local owner = string.sub(hold, 1, {OWNER_CHARS})
  if living[owner] == nil then living[owner] = redis.call('HEXISTS', OWNERS, owner) == 1 end
  return living[owner]
end
local function level(name, now, but)
  local spent = redis.call('GET', name)
  local total = tonumber(spent or '0')
  local holds = redis.call('HGETALL', name .. ':holds')
  for i = 1, #holds, 2 do
    local amount, ends = string.match(holds[i + 1], '^(-?%d+):(.+)$')
    if tonumber(ends) <= now or not lives(holds[i]) then redis.call('HDEL', name .. ':holds', holds[i])
    elseif holds[i] ~= but then total = total + tonumber(amount) end
  end
  return total, spent or ''
end
"""
# KEYS: the mark of the hold, then counters. ARGV: now, hold, lease, owner, then amount, limit or '', expires_at and
# known for each counter. Answers three values. The first is the place of the counter without room, 0 if all have room,
# or -1 if the state is not whole. Then come the levels, and what is spent. Lua compares levels as doubles, exact up to
# 9,007 USD. INCRBY keeps them exact to 64 bits.
_RESERVE = (
    _LEVEL
    + f"""
local now, hold, lease = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local levels, spents, refused, whole = {{}}, {{}}, 0, redis.call('EXISTS', EPOCH) == 1
if ARGV[4] ~= '' then redis.call('HSETNX', OWNERS, ARGV[4], 0) end
for i = 2, #KEYS do
  local at, spent = level(KEYS[i], now, hold)
  levels[i - 1], spents[i - 1] = string.format('%.0f', at), spent
  local limit = ARGV[4 * i - 2]
  if refused == 0 and limit ~= '' and at + tonumber(ARGV[4 * i - 3]) > tonumber(limit) then refused = i - 1 end
  if ARGV[4 * i] == '1' and spent == '' then whole = false end
end
if not whole then return {{-1, levels, spents}} end
if redis.call('EXISTS', KEYS[1]) == 1 then return {{0, levels, spents}} end
for i = 2, #KEYS do
  if refused == 0 then
    local held = ARGV[4 * i - 3] .. ':' .. string.format('%.3f', now + lease)
    redis.call('HSET', KEYS[i] .. ':holds', hold, held)
    redis.call('EXPIRE', KEYS[i] .. ':holds', {HOLDS_S})
  else redis.call('HDEL', KEYS[i] .. ':holds', hold) end
end
return {{refused, levels, spents}}
"""
)
# KEYS: the mark of the hold, then counters. ARGV: hold, seconds that the mark stays, now, epoch, ended or '', then
# amount, expires_at and known for each counter. Answers false if the state has another epoch or lost a known counter;
# an ARGV epoch of 0 fits any state. The amounts of an empty state mean nothing, so they are left out. A new counter
# gets a base of 0. So a counter without a base has lost it.
_SETTLE = f"""
local epoch, ended = redis.call('GET', '{PREFIX}{EPOCH}'), tonumber(ARGV[5])
if ARGV[4] ~= '0' and ARGV[4] ~= epoch then return false end
for i = 2, #KEYS do
  if ARGV[3 * i + 2] == '1' and redis.call('EXISTS', KEYS[i]) == 0 then return false end
end
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[2]) then return {{}} end
local now, grown = tonumber(ARGV[3]), {{}}
local function filled(name) return tonumber(redis.call('GET', '{PREFIX}{FILLED}' .. name) or '0') end
for i = 2, #KEYS do
  redis.call('HDEL', KEYS[i] .. ':holds', ARGV[1])
  local amount, name = ARGV[3 * i], string.sub(KEYS[i], {len(PREFIX) + 1})
  if amount ~= '0' and not (ended and ended < filled(name)) then
    local seconds = math.max(1, math.ceil(tonumber(ARGV[3 * i + 1]) - now))
    local spent = redis.call('INCRBY', KEYS[i], amount)
    redis.call('EXPIRE', KEYS[i], seconds)
    if spent == tonumber(amount) then redis.call('SET', '{PREFIX}{BASE}' .. name, '0', 'NX', 'EX', seconds) end
    grown[#grown + 1] = i - 2
    grown[#grown + 1] = redis.call('GET', KEYS[i])
  end
end
if not epoch then return {{}} end
return grown
"""
_LEVELS = (
    _LEVEL
    + """
local levels = {}
for i, name in ipairs(KEYS) do levels[i] = string.format('%.0f', (level(name, tonumber(ARGV[1]), ''))) end
return levels
"""
)
_BEAT = (
    _LEVEL
    + """
redis.call('HINCRBY', OWNERS, ARGV[1], 1)
return {redis.call('GET', EPOCH) or '0', redis.call('HGETALL', OWNERS)}
"""
)
# KEYS: for each counter, the keys of its base (what earlier refills gave it) and of its moment, then the counter. ARGV:
# epoch, seconds that it stays, now, moment, then amount and expires_at for each counter. If only the base is lost, an
# earlier refill may have given as much, so nothing is added. If a counter is lost, its holds may be lost, too: the
# beats of all owners jump, so each makes its holds again.
_REFILL = (
    _LEVEL
    + f"""
local epoch = redis.call('GET', EPOCH)
if epoch and epoch ~= ARGV[1] then return epoch end
local since, lost = tonumber(ARGV[4]), false
for i = 3, #KEYS, 3 do
  local base, filled, name, amount = KEYS[i - 2], KEYS[i - 1], KEYS[i], ARGV[i / 3 * 2 + 3]
  local seconds = math.max(1, math.ceil(tonumber(ARGV[i / 3 * 2 + 4]) - tonumber(ARGV[3])))
  local spent, before = redis.call('GET', name), redis.call('GET', base)
  if not epoch then before = spent end
  if not spent then
    lost = true
    redis.call('SET', name, amount, 'EX', seconds)
  elseif before and tonumber(amount) > tonumber(before) then
    redis.call('INCRBY', name, string.format('%.0f', tonumber(amount) - tonumber(before)))
  end
  if not epoch or not spent or not before or tonumber(amount) > tonumber(before) then
    redis.call('SET', base, amount, 'EX', seconds)
  end
  if since > tonumber(redis.call('GET', filled) or '0') then redis.call('SET', filled, ARGV[4], 'EX', seconds) end
end
if epoch and lost then
  for _, owner in ipairs(redis.call('HKEYS', OWNERS)) do redis.call('HINCRBY', OWNERS, owner, {LOST_BEATS}) end
end
redis.call('SET', EPOCH, ARGV[1], 'NX', 'EX', ARGV[2])
return redis.call('GET', EPOCH)
"""
)
# The counter stays, so the state still knows that something was counted.
_RESET = """
local spent = redis.call('GET', KEYS[1])
if spent then redis.call('DECRBY', KEYS[1], spent) end
return spent or '0'
"""
_SMOOTH = """
local old = redis.call('GET', KEYS[1])
local mean = tonumber(ARGV[1])
if old then mean = tonumber(old) + tonumber(ARGV[2]) * (mean - tonumber(old)) end
local text = string.format('%.17g', mean)
redis.call('SET', KEYS[1], text, 'PX', ARGV[3])
return text
"""


Asked = ParamSpec("Asked")
Result = TypeVar("Result")
BROKEN = (OSError, RuntimeError)
"""The errors of a connection that is gone. uvloop 0.23 raises `RuntimeError` for a write to a connection that the other
side has reset. redis-py 8.1 does not notice the reset of a connection that rests, and passes that error on.
"""
MISREAD = (TypeError, ValueError, LookupError, AttributeError)
"""The errors that redis-py and this module raise when a server answers in a form that Redis would not use."""


def _understood(
    ask: Callable[Asked, Coroutine[Any, Any, Result]],
) -> Callable[Asked, Coroutine[Any, Any, Result]]:
    """Make a method raise `StoreError` for answers that make no sense: something else may listen at the address."""

    @wraps(ask)
    async def asked(*arguments: Asked.args, **options: Asked.kwargs) -> Result:
        try:
            return await ask(*arguments, **options)
        except MISREAD as error:
            raise StoreError(f"Redis: got an answer that makes no sense: {error}") from error

    return asked


class RedisState(SharedState):
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
            retry_on_error=[*BROKEN],
            health_check_interval=15,
        )
        self._redis: Any = redis.asyncio.Redis.from_pool(pool)
        register = self._redis.register_script
        self._reserve, self._settle = register(_RESERVE), register(_SETTLE)
        self._levels, self._smooth = register(_LEVELS), register(_SMOOTH)
        self._beat, self._refill, self._reset = register(_BEAT), register(_REFILL), register(_RESET)
        self._policy_checked = False

    @_understood
    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing if one has no room."""
        arguments: list[Any] = [self._clock(), hold, lease_s, owner_of(hold) or ""]
        for want in wants:
            limit = "" if want.limit is None else want.limit
            arguments += [want.amount, limit, want.expires_at, int(want.known)]
        keys = [_mark(hold), *(PREFIX + want.counter for want in wants)]
        refused, levels, spents = await _asked(self._reserve(keys=keys, args=arguments))
        names = [want.counter for want in wants]
        spent = {name: int(amount) for name, amount in zip(names, spents, strict=True) if amount}
        return Verdict(
            names[refused - 1] if refused > 0 else None,
            dict(zip(names, map(int, levels), strict=True)),
            spent,
            whole=refused >= 0,
        )

    @_understood
    async def count(
        self,
        hold: str,
        spent: Mapping[str, tuple[int, float]],
        *,
        keep_s: float,
        epoch: int,
        ended: float = math.inf,
        known: Collection[str] = (),
    ) -> dict[str, int] | None:
        """Free a hold and count what was spent, in a state of this epoch that has the known counters."""
        arguments: list[Any] = [hold, round(keep_s), self._clock(), epoch, "" if ended == math.inf else ended]
        for name, (amount, expires_at) in spent.items():
            arguments += [amount, expires_at, int(name in known)]
        names = [*spent]
        grown = await _asked(self._settle(keys=[_mark(hold), *(PREFIX + name for name in names)], args=arguments))
        if grown is None:
            return None
        return {names[place]: int(amount) for place, amount in zip(grown[::2], grown[1::2], strict=True)}

    @_understood
    async def beat(self, owner: str) -> Beats:
        """Say that an owner lives."""
        epoch, found = await _asked(self._beat(keys=[PREFIX + EPOCH], args=[owner]))
        owners = {name.decode(): int(count) for name, count in zip(found[::2], found[1::2], strict=True)}
        beats = Beats(owners, int(epoch))
        if not self._policy_checked:
            self._policy_checked = True
            await self._check_policy()
        return beats

    async def _check_policy(self) -> None:
        """Warn if Redis may drop counters when its memory is full."""
        try:
            found = await _asked(self._redis.config_get("maxmemory*"))
        except (StoreError, *MISREAD):  # many hosted services forbid the question, and a proxy may answer otherwise
            return
        policy, limit = found.get("maxmemory-policy", "noeviction"), found.get("maxmemory", "0")
        if policy != "noeviction" and limit != "0":
            log.warning(
                "Redis may drop what budgets have counted when its memory is full: got maxmemory-policy %s with "
                "maxmemory %s, expected noeviction",
                policy,
                limit,
            )

    @_understood
    async def release(self, owner: str) -> None:
        """Free all that an owner holds, and forget the owner."""
        await _asked(self._redis.hdel(f"{PREFIX}owners", owner))

    @_understood
    async def refill(self, epoch: int, spent: Mapping[str, tuple[int, float]], *, since: int = 0) -> int:
        """Count what is known to be spent, and mark the state as not empty."""
        arguments: list[Any] = [epoch, round(EPOCH_S), self._clock(), since]
        for amount, expires_at in spent.values():
            arguments += [amount, expires_at]
        keys = [PREFIX + before + name for name in spent for before in (BASE, FILLED, "")]
        return int(await _asked(self._refill(keys=keys, args=arguments)))

    @_understood
    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """Return what counters have reached, held amounts included."""
        if not counters:
            return {}
        levels = await _asked(self._levels(keys=[PREFIX + name for name in counters], args=[self._clock()]))
        return dict(zip(counters, map(int, levels), strict=True))

    @_understood
    async def reset(self, counter: str) -> int:
        """Forget what was spent."""
        return int(await _asked(self._reset(keys=[PREFIX + counter], args=[])))

    @_understood
    async def get(self, key: str) -> bytes | None:
        """Return a value. None: there is none, or it has expired."""
        return _bytes(await _asked(self._redis.get(PREFIX + key)))

    @_understood
    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those of the values that exist, by key."""
        if not keys:
            return {}
        values = await _asked(self._redis.mget([PREFIX + key for key in keys]))
        found = zip(keys, map(_bytes, values), strict=True)
        return {key: value for key, value in found if value is not None}

    @_understood
    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""
        await _asked(self._redis.set(PREFIX + key, value, px=max(1, round(ttl_s * 1000))))

    @_understood
    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one. Returns whether it was set."""
        return bool(await _asked(self._redis.set(PREFIX + key, value, px=max(1, round(ttl_s * 1000)), nx=True)))

    @_understood
    async def delete(self, key: str) -> None:
        """Forget a value."""
        await _asked(self._redis.delete(PREFIX + key))

    @_understood
    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value, and return the average."""
        arguments: list[str | int | float] = [repr(value), weight, max(1, round(ttl_s * 1000))]
        return float(await _asked(self._smooth(keys=[PREFIX + key], args=arguments)))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._redis.aclose()


def _mark(hold: str) -> str:
    """Return the key that marks a hold as settled."""
    return f"{PREFIX}settled:{hold}"


def _bytes(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    raise TypeError(f"expected bytes, got {type(value).__name__}")


async def _asked(answer: Awaitable[Any]) -> Any:
    task = asyncio.current_task()
    asked_to_end = task.cancelling() if task is not None else 0
    try:
        found = await answer
    except (RedisError, *BROKEN) as error:
        raise StoreError(f"Redis: {error or type(error).__name__}") from error
    if task is not None and task.cancelling() > asked_to_end:
        # redis-py 8.1 writes within `asyncio.wait_for`. On Python 3.11 that loses a cancellation that comes just as it
        # ends (gh-86296). Then a request whose caller left would go on, and a stop of the service would never end.
        raise asyncio.CancelledError
    return found
