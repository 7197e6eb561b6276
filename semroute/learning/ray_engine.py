"""Do the work on the workers of a Ray cluster: the one at RAY_ADDRESS, or else one on this machine.

The workers read the parts of a log themselves. What comes back are tallies. At most two for each core wait here, so
that the memory does not grow with the log. If a worker dies, Ray does its part again on another one.
"""

from __future__ import annotations

import itertools
import os
import pickle
import socket
import tempfile
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import semroute
from semroute.errors import RequestError, SemrouteError, SettingsError
from semroute.learning.engines import Item, Result, Step, Work
from semroute.learning.logged_decisions import LoggedDecisions
from semroute.learning.packed_router import let_routers_travel
from semroute.settings import DISTRIBUTION, how_to_install

ADDRESS = "RAY_ADDRESS"
OF_THIS_MACHINE = "local"
CONNECT_S = 5.0
"""How long a cluster may take to accept a connection. Ray itself would try for minutes."""
RETRIES = 10
"""How often a part is done again after its worker died."""
SHARED = "the same path must lead to the same files on every machine of the cluster, as on a shared file system"
_ALONE = {
    "RAY_USAGE_STATS_ENABLED": "0",  # sends nothing to Ray's makers
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a cluster of one machine, which only listens on 127.0.0.1
}
"""Settings of Ray for a cluster on this machine. Ray reads them when it is imported."""


@contextmanager
def open_ray(cpus: int | None = None) -> Iterator[RayEngine]:
    """Connect to the cluster at RAY_ADDRESS, or start one here that ends with the context.

    `cpus`: the number of workers of a cluster that is started here. None: one for each core. Raises `SettingsError` if
    Ray is not installed, and `RequestError` if the cluster cannot be used.
    """
    address = os.environ.get(ADDRESS) or OF_THIS_MACHINE
    here = address == OF_THIS_MACHINE
    if here:
        for name, value in _ALONE.items():
            os.environ.setdefault(name, value)
    else:
        _require_listener(address)
    let_routers_travel()
    try:
        import ray
    except ImportError:
        raise SettingsError(f"`--engine ray` needs Ray: {how_to_install('ray')}") from None
    with tempfile.TemporaryDirectory(prefix="semroute-ray-", ignore_cleanup_errors=True) as folder:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if here:
            alone = {"num_cpus": cpus, "include_dashboard": False, "_temp_dir": folder, "_node_ip_address": "127.0.0.1"}
            options |= alone
        with _Refusals(address):
            ray.init(address, **options)
        try:
            yield RayEngine(ray)
        finally:
            ray.shutdown()


class _Refusals:
    """Turns what `ray.init` raises into a `RequestError`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        # If a cluster takes more than 15 to 30 seconds to start, Ray raises an error of no class of its own.
        if kind is Exception or isinstance(error, OSError | RuntimeError | ValueError | ImportError):
            raise _refused(self._address, str(error)) from error


class RayEngine:
    """Does work on the cluster that this process is connected to."""

    def __init__(self, ray: Any) -> None:
        """`ray`: the module."""
        self._ray = ray
        self._do = ray.remote(num_cpus=1, max_retries=RETRIES)(_task())

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Step[Result]]:
        """Do the work on each item. There are no steps on the way."""
        ray, name, packed = self._ray, uuid.uuid4().hex, self._ray.put(self._ray.cloudpickle.dumps(work))
        left, waiting = iter(items), deque[Any]()
        while True:
            room = 2 * max(1, int(ray.cluster_resources().get("CPU", 1))) - len(waiting)
            for item in itertools.islice(left, max(0, room)):
                waiting.append(self._do.remote(semroute.__version__, DISTRIBUTION, name, packed, pickle.dumps(item)))
            if not waiting:
                return
            yield Step(pickle.loads(self._result(waiting.popleft())), True)

    def _result(self, task: Any) -> bytes:
        """Wait for a task. Raises `RequestError` if it failed for a reason that the user can mend."""
        exceptions = self._ray.exceptions
        try:
            done, result = self._ray.get(task)
        except exceptions.RayTaskError:
            raise  # a fault of the program, with the traceback of the worker
        except exceptions.WorkerCrashedError:
            told = f"a worker of the Ray cluster died {RETRIES + 1} times at the same part of the log"
            raise RequestError(f"{told}: it may need more memory") from None
        except exceptions.RayError as error:
            raise RequestError(f"the Ray cluster failed: {error}") from error
        if not done:
            raise RequestError(result)
        assert isinstance(result, bytes)
        return result


def require_parts(log: LoggedDecisions) -> None:
    """Check that workers can read parts of a log. Raises `RequestError`."""
    if not log.divisible:
        raise RequestError(
            f"{log.name}: got a log that cannot be read in parts, expected a file or a folder of Parquet for "
            "`--engine ray`: write one with `semroute export FILE.parquet`"
        )


def do(name: str, packed: bytes, item: bytes) -> tuple[bool, Any]:
    """Do the work on an item, on a worker. Return whether it could be done, and the packed result or why not.

    `name`: of the work, which is unpacked once in each process.
    """
    try:
        if name not in _works:
            _works.clear()
            _works[name] = pickle.loads(packed)
        *_, result = _works[name](pickle.loads(item))
    except SemrouteError as error:
        return False, f"{error}; {SHARED}" if isinstance(error.__cause__, FileNotFoundError) else str(error)
    return True, pickle.dumps(result)  # as bytes, or else arrays would hold Ray's shared memory


_works: dict[str, Any] = {}


def _task() -> Any:
    """Return the function that workers call. A nested function travels as code, so it runs without semroute, too."""

    def task(version: str, distribution: str, name: str, packed: bytes, item: bytes) -> tuple[bool, Any]:
        from importlib import import_module

        util: Any = import_module("ray.util")
        worker = f"the worker at {util.get_node_ip_address()}"
        try:
            import semroute
            from semroute.learning.ray_engine import do
        except ImportError as error:
            return False, f"{worker} cannot import semroute: {error}; install {distribution}[ray]=={version} there"
        if semroute.__version__ != version:
            got = f"{worker} has semroute {semroute.__version__}, expected {version} as here"
            return False, f"{got}: install {distribution}[ray]=={version} there"
        done, result = do(name, packed, item)
        return done, result if done else f"{worker}: {result}"

    return task


def _require_listener(address: str) -> None:
    """Check that something listens at an address, before Ray waits minutes for it. Raises `RequestError`."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        if parts.hostname is None or parts.port is None:
            return  # a word such as `auto`, or an address that Ray refuses itself
        socket.create_connection((parts.hostname, parts.port), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise _refused(address, str(error)) from error


def _refused(address: str, why: str) -> RequestError:
    first = why.strip().partition("\n")[0]
    if address == OF_THIS_MACHINE:
        return RequestError(f"Ray cannot be started on this machine: {first}")
    return RequestError(
        f"{ADDRESS}={address}: the Ray cluster cannot be reached: {first}; expected an address such as 10.0.0.5:6379. "
        "If the cluster asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN. "
        f"Unset {ADDRESS} to use this machine alone"
    )
