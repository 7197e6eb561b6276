"""Work on a real Ray cluster of two workers on this machine: the same figures as without it, even if a worker dies."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import pytest

from semroute import Router, __version__
from semroute.cli.engine import open_engine
from semroute.config.schema.service import LogSettings
from semroute.errors import RequestError, SettingsError
from semroute.learning import drift_windows
from semroute.learning.engines import Item, Result, Step, Stretch, TallyRows, Work
from semroute.learning.logged_decisions import LoggedDecisions
from semroute.learning.logged_prompts import PromptTally
from semroute.learning.packed_router import without_secrets
from semroute.learning.ray_engine import RayEngine, open_ray
from semroute.stores.interfaces import Query
from tests.learning.logs import PROMPTS, line, write, write_folder, write_parquet_folder
from tests.learning.test_drift import rows as drift_rows
from tests.learning.test_parts import drifted, exported, replayed, suggested, swept

ALL = Query()
PARQUET = LoggedDecisions(Path("log.parquet"))


class DieOnce(NamedTuple):
    """Work whose process is killed in the middle of an item, the first time."""

    work: Work[object, object]
    died: Path

    def __call__(self, item: object, /) -> Iterator[object]:
        for place, result in enumerate(self.work(item)):
            if place == 1 and not self.died.exists():
                self.died.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            yield result


class DyingOnce(RayEngine):
    """A cluster on which a worker dies."""

    died: Path

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Step[Result]]:
        return super().map(DieOnce(work, self.died), items)  # type: ignore[arg-type]  # it yields what the work yields


@contextmanager
def cluster() -> Iterator[RayEngine]:
    """Two workers on this machine. The test is skipped if this machine is so busy that Ray gives up starting."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(open_ray(cpus=2))
        except RequestError as error:
            for child in psutil.Process().children(recursive=True):
                child.kill()
            if "timed out during startup" in str(error):
                pytest.skip(str(error))
            raise
        yield engine


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # Ray does not wait for some
def test_a_cluster_gives_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, because a cluster takes long to start."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    router = Router.load(write_folder(tmp_path / "routes"))
    candidate = Router.load(write_folder(tmp_path / "candidate", sport="small"), previous=router)
    keeps = (LogSettings(content="full"), LogSettings(features=True), LogSettings(), LogSettings(embedding=False))
    log = write_parquet_folder(Path("log"), exported(tmp_path, router, keeps), 5)  # a path from the current folder
    asked = [line(n, f"{PROMPTS[n % 5]} {n}", route=None) for n in range(80)]
    prompts = write_parquet_folder(tmp_path / "prompts", asked, 3)
    drift = write_parquet_folder(tmp_path / "drift", list(drift_rows(drift=True)), 5)
    monkeypatch.setattr(drift_windows, "MOST_ROWS", 150)
    here = replayed(candidate, log), suggested(router, prompts), drifted(drift), swept(candidate, log)
    assert (here[0]["rows"], here[0]["changed"], here[1]["read"].used, here[2]["moved"]) == (20, 9, 80, True)
    assert here[3]["used_rows"] > 0
    with cluster() as engine:
        cloudpickle: Any = engine._ray.cloudpickle
        cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import the tests
        there = replayed(candidate, log, engine), suggested(router, prompts, engine), drifted(drift, engine)
        assert here == (*there, swept(candidate, log, engine))
        check_listeners()
        dying = DyingOnce(engine._ray)
        checks: dict[str, Callable[[], bool]] = {
            "replay": lambda: here[0] == replayed(candidate, log, dying),
            "suggest": lambda: here[1] == suggested(router, prompts, dying),
            "drift": lambda: here[2] == drifted(drift, dying),
            "sweep": lambda: here[3] == swept(candidate, log, dying),
        }
        for name, again in checks.items():
            dying.died = tmp_path / f"died-{name}"
            assert again(), name
            assert not psutil.pid_exists(int(dying.died.read_text())), name
        check_refusals(engine, log, monkeypatch)
    assert not [child for child in psutil.Process().children(recursive=True) if "ray" in child.name()]
    gc.collect()


def check_listeners() -> None:
    """No process of the cluster can be reached from other machines, and none sends figures to anybody."""
    started = psutil.Process().children(recursive=True)
    addresses = {
        one.laddr.ip
        for process in (psutil.Process(), *started)
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }
    assert len(started) >= 4
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def check_refusals(engine: RayEngine, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [first, *_] = LoggedDecisions(log).parts()
    work = TallyRows(partial(PromptTally.begin, frozenset[str]()), PromptTally.add, ALL)
    assert first.part is not None
    (log / "day=0" / "part-0.parquet").unlink()  # as if the workers had another disk
    with pytest.raises(RequestError, match=r"the worker at 127\.0\.0\.1: log/day=0/part-0\.parquet: .*the same path"):
        list(engine.map(work, [Stretch(first)]))
    monkeypatch.setattr("semroute.__version__", "99.1")
    told = f"has semroute {__version__}, expected 99.1 as here: install semroute-gateway\\[ray\\]==99.1 there"
    with pytest.raises(RequestError, match=told):
        list(engine.map(work, [Stretch(first)]))


def test_only_parquet_can_be_divided(tmp_path: Path) -> None:
    log = LoggedDecisions(write(tmp_path / "log.jsonl", []))
    told = r"log\.jsonl: got a log that cannot be read in parts, expected .* Parquet"
    with pytest.raises(RequestError, match=told), open_engine("ray", log):
        raise AssertionError("unreachable")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("nonsense", "RAY_ADDRESS=nonsense: the Ray cluster cannot be reached: .*expected an address such as"),
        ("http://10.0.0.1", "cannot be reached: .*HTTP"),
        ("ray://", "cannot be reached: "),
        ("localhost:x", "cannot be reached: "),
    ],
)
def test_addresses_that_are_none(address: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(RequestError, match=told), open_engine("ray", PARQUET):
        raise AssertionError("unreachable")


def test_a_cluster_that_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with (
        pytest.raises(RequestError, match=rf"RAY_ADDRESS=127\.0\.0\.1:{port}: .*Connection refused"),
        open_engine("ray", PARQUET),
    ):
        raise AssertionError("unreachable")


def test_without_ray_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    told = r"needs Ray: pip install 'semroute-gateway\[ray\]'"
    with (
        pytest.raises(SettingsError, match=told),
        open_engine("ray", PARQUET),
    ):
        raise AssertionError("unreachable")


def test_keys_of_providers_stay_here(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "routes")
    text = (folder / "all.yaml").read_text()
    keyed = "{here: {dialect: openai, base_url: 'http://127.0.0.1:9', api_key: hidden-1, headers: {x-key: hidden-2}}}"
    (folder / "all.yaml").write_text(text.replace("{here: {dialect: echo}}", keyed))
    config = without_secrets(Router.load(folder).config)
    assert "hidden" not in repr([msgspec.to_builtins(provider) for provider in config.providers.values()])
