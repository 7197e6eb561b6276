"""What many tests need: a provider that misbehaves on demand, and a service in front of it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.providers.fault_server import FaultServer
from tests.service import Service
from tests.stores.servers import PostgresServer, RedisServer

ROOT = Path(__file__).parent.parent

SCENARIOS = """
    ok status-400 status-401 status-404 status-408 status-409 status-422 status-425 status-429 status-500 status-503
    html error-200 empty-choices malformed-json hang reset close cut-body slow-first-token cut-after-2 reset-after-2
    stall-after-2 endless paced-60 no-done tools quotes-key context-length
""".split()

ROUTES = """
routes:
  - name: billing
    description: Invoices, refunds and payment problems.
    utterances:
      - why was I charged twice this month
      - I want my money back
      - where can I download my last invoice
      - my card was declined but the money is gone
      - what does the pro plan cost per seat
    models: [ok]
  - name: coding
    description: Writing and repairing programs.
    utterances:
      - write a python function that merges two sorted lists
      - why does this loop never end
      - refactor this class so that it can be tested
      - add type hints to the following module
      - my react component renders twice, what is wrong
    models: [status-500, ok]
rules:
  - {name: batch, when: {metadata: {workload: batch}}, models: [ok]}
"""


def models_yaml(base_url: str) -> str:
    """A registry in which a model's id is the fault server's scenario."""
    models = "\n".join(
        # One service serves many tests: its breakers stay closed.
        f"  {name}: {{provider: faults, name: {name}, input_price: 1, output_price: 2, "
        "breaker: {failures: 1000000, min_calls: 1000000}}"
        for name in SCENARIOS
    )
    return f"""
providers:
  faults: {{dialect: openai, base_url: "{base_url}", api_key: "${{FAULTS_KEY}}"}}
  nowhere: {{dialect: openai, base_url: "http://127.0.0.1:9/v1"}}
  keyless: {{dialect: openai, base_url: "http://127.0.0.1:9/v1", api_key: "${{NO_SUCH_KEY}}"}}
models:
{models}
  refused: {{provider: nowhere, name: refused}}
  keyless: {{provider: keyless, name: keyless}}
policy:
  timeouts: {{connect_s: 2, first_token_s: 1, stall_s: 1, total_s: 2}}
  retry: {{base_s: 0.01}}
  stream: {{on_break: error}}
default:
  models: [ok]
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no core waits for it at the end."""
    items.sort(key=lambda item: not item.path.name.startswith("test_house"))


@pytest.fixture(scope="session", autouse=True)
def _what_was_imported() -> None:
    """What is there before the first test is not looked through after each module."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_open(_what_was_imported: None) -> Iterator[None]:
    """What a module leaves open fails there, and not a test that happens to run when it is collected, which is rare."""
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep trained heads for the session, those of all test processes together, and out of the user's own cache."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMROUTE_CACHE_DIR", str(shared / "heads"))
        yield


@pytest.fixture(scope="session")
def faults() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def write_routes(faults: FaultServer) -> Callable[[Path], Path]:
    """Fill a folder with the routes above, served by the fault server."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "models.yaml").write_text(models_yaml(faults.url))
        (folder / "routes.yaml").write_text(ROUTES)
        return folder

    return write


@pytest.fixture(scope="session")
def service(write_routes: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that change nothing about it."""
    folder = tmp_path_factory.mktemp("service")
    with Service(write_routes(folder / "routes"), folder / "log", FAULTS_KEY="sk-faults-0123456789") as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer.start() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer.start() as server:
        yield server


@pytest.fixture(scope="session")
def semroute() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a `semroute` command to its end."""

    def run(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SEMROUTE_")}
        return subprocess.run(
            [sys.executable, "-m", "semroute", *map(str, arguments)],
            env=clean | environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
