"""Starting, stopping, reloading, and who may call."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.providers.fault_server import FaultServer
from tests.service import Service, until

Run = Callable[..., subprocess.CompletedProcess[str]]
WriteRoutes = Callable[[Path], Path]

SHIPPING = """
routes:
  - name: shipping
    utterances:
      [where is my parcel, it never arrived, track my order, when is it delivered, wrong address on the parcel]
    models: [ok]
"""


def routes_of(service: Service) -> list[str]:
    return [route["name"] for route in service.client.get("/routes").json()["routes"]]


def has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_edit_takes_effect_without_losing_a_request(write_routes: WriteRoutes, tmp_path: Path) -> None:
    with Service(write_routes(tmp_path / "routes"), tmp_path / "log", FAULTS_KEY="sk-faults-key") as service:
        stop = threading.Event()

        def load() -> list[int]:
            with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
                codes = []
                while not stop.is_set():
                    codes.append(client.post("/complete", json={"prompt": "I want my money back"}).status_code)
                return codes

        with ThreadPoolExecutor(2) as pool:
            loads = [pool.submit(load) for _ in range(2)]
            (service.folder / "shipping.yaml").write_text(SHIPPING)
            arrived = until(lambda: "shipping" in routes_of(service), seconds=60)
            (service.folder / "shipping.yaml").write_text("routes: {broken: ]")
            reported = until(lambda: service.client.get("/health/ready").json()["status"] == "degraded", seconds=60)
            stop.set()
            codes = [code for done in loads for code in done.result()]
        assert arrived
        assert reported
        assert codes
        assert set(codes) == {200}
        assert "shipping" in routes_of(service)  # the last good routes stay
        warnings = service.client.get("/health/ready").json()["warnings"]
        assert "shipping.yaml:1" in warnings[0]
        assert "shipping.yaml:1" in service.log

        refused = service.client.post("/admin/reload")
        assert refused.status_code == 409
        assert "shipping.yaml:1" in refused.json()["error"]
        (service.folder / "shipping.yaml").unlink()
        assert service.client.post("/admin/reload").json()["error"] is None
        (service.folder / "shipping.yaml").write_text("routes: {broken: ]")
        assert service.client.post("/admin/reload").status_code == 409
        assert "can be used again" not in service.log
        (service.folder / "shipping.yaml").unlink()
        assert service.client.post("/admin/reload").json()["error"] is None
        assert "can be used again" in service.log
        assert routes_of(service) == ["billing", "coding"]


def test_a_stop_finishes_what_is_running(write_routes: WriteRoutes, faults: FaultServer, tmp_path: Path) -> None:
    with Service(write_routes(tmp_path / "routes"), tmp_path / "log", FAULTS_KEY="sk-faults-key") as service:
        before = len(faults.requests)
        with ThreadPoolExecutor(1) as pool:
            body = {"prompt": "x", "model": "paced-60", "stream": True}
            running = pool.submit(httpx.post, f"{service.url}/complete", json=body, timeout=30, trust_env=False)
            assert until(lambda: len(faults.requests) > before)
            code = service.stop()
            response = running.result()
        assert response.status_code == 200
        assert response.text.count("word ") == 60
        assert "event: end" in response.text
        assert code == 0


@pytest.mark.parametrize(
    ("workers", "number"),
    [(1, signal.SIGINT), (2, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGTERM), (1, signal.SIGHUP)],
)
def test_a_stop_leaves_every_request_in_the_log(
    write_routes: WriteRoutes, tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("these tests were started to ignore this signal, as by nohup, and so is the service")
    options = "--workers", str(workers)
    with Service(write_routes(tmp_path / "routes"), tmp_path / "log", *options, FAULTS_KEY="k") as service:
        assert until(lambda: service.log.count("Application startup complete") == workers, seconds=60)

        def ask(_: int) -> str:
            body = {"prompt": "refund me", "model": "ok"}
            answer = httpx.post(f"{service.url}/complete", json=body, timeout=30, trust_env=False)
            return answer.headers["x-semroute-decision"]

        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(ask, range(100)))
        if number == signal.SIGINT:  # as a terminal does
            os.killpg(service.process.pid, number)
        else:
            service.process.send_signal(number)
        assert service.process.wait(30) == 0
        assert until(lambda: not has_processes(service.process.pid))
    assert "Traceback" not in service.log
    assert "lost" not in service.log
    with contextlib.closing(sqlite3.connect(service.database)) as log:
        assert {id_ for (id_,) in log.execute("SELECT id FROM decisions")} == ids
    assert len(ids) == 100


def test_two_workers_serve_one_port(write_routes: WriteRoutes, tmp_path: Path) -> None:
    folder = write_routes(tmp_path / "routes")
    with Service(folder, tmp_path / "log", "--workers", "2", FAULTS_KEY="sk-faults-key") as service:
        codes = [service.client.post("/complete", json={"prompt": "refund me"}).status_code for _ in range(10)]
        assert codes == [200] * 10
        assert until(lambda: service.log.count("Application startup complete") == 2, seconds=60)


def test_a_worker_that_dies_is_started_again(write_routes: WriteRoutes, tmp_path: Path) -> None:
    folder = write_routes(tmp_path / "routes")
    with Service(folder, tmp_path / "log", "--workers", "2", FAULTS_KEY="sk-faults-key") as service:
        assert until(lambda: service.log.count("Application startup complete") == 2, seconds=60)
        workers = [
            each for each in psutil.Process(service.process.pid).children() if "spawn_main" in str(each.cmdline())
        ]
        assert len(workers) == 2
        workers[0].kill()
        assert until(lambda: service.log.count("Application startup complete") == 3, seconds=60)
        for _ in range(20):
            assert httpx.get(f"{service.url}/health/live", timeout=30, trust_env=False).status_code == 200
        assert service.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_keeps_every_worker_from_starting_ends_the_service(tmp_path: Path, workers: str) -> None:
    script = "from semroute import settings; from semroute.api.server import listen, serve; s = settings.read(); "
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/no/where.db", "PORT": "0", "WORKERS": workers}
    done = subprocess.run(
        [sys.executable, "-c", f"{script} serve(s, listen(s))"],
        env=os.environ | {f"SEMROUTE_{name}": value for name, value in environ.items()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert f"SQLite at {tmp_path}/no/where.db: unable to open database file" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_trains_on_one_thread_of_blas(write_routes: WriteRoutes, tmp_path: Path) -> None:
    script = """
import asyncio
from threadpoolctl import threadpool_info
from semroute.api.app import create_app
async def main():
    async with create_app().lifespan():
        print({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
asyncio.run(main())
"""
    environ = {"SEMROUTE_DATABASE_URL": "memory:", "SEMROUTE_ROUTES": str(write_routes(tmp_path / "routes"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "{1}\n", done.stderr


@pytest.mark.parametrize(
    ("options", "environ", "told"),
    [
        ([], {"SEMROUTE_DATABASE_URL": "sqlite:///no/where.db"}, "SQLite at no/where.db: unable to open"),
        (["--port", "99999"], {}, "Invalid value for '--port': 99999 is not in the range"),
        (["--workers", "0"], {}, "Invalid value for '--workers': 0 is not in the range"),
        (["--host", "nope.invalid", "--insecure"], {}, "choose another with --host"),
        ([], {"SEMROUTE_DATABASE_URL": "foo:bar"}, "SEMROUTE_DATABASE_URL: got 'foo:bar', expected"),
        ([], {"SEMROUTE_STATE_URL": "foo:bar"}, "SEMROUTE_STATE_URL: got 'foo:bar', expected"),
        (
            [],
            {"SEMROUTE_STATE_URL": "redis://:a#b@x"},
            "SEMROUTE_STATE_URL: got an address that cannot be read",
        ),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_else(
    semroute: Run, tmp_path: Path, options: list[str], environ: dict[str, str], told: str
) -> None:
    done = semroute("serve", *options, **{"SEMROUTE_DATABASE_URL": f"sqlite:///{tmp_path}/a.db", **environ})
    assert done.returncode == (1 if "SQLite" in told else 2)
    assert told in done.stderr
    assert "routes, " not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_0_is_one_that_is_free(write_routes: WriteRoutes, tmp_path: Path, workers: str) -> None:
    options = "--routes", str(write_routes(tmp_path / "routes")), "--port", "0", "--workers", workers, "--echo"
    environ = os.environ | {"SEMROUTE_DATABASE_URL": f"sqlite:///{tmp_path}/a.db"}
    written = tmp_path / "log"
    with written.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "semroute", "serve", *options], env=environ, stderr=log)
    try:
        assert until(lambda: written.read_text().count("Application startup complete") == int(workers), seconds=60)
        told = re.search(r"on (http://127\.0\.0\.1:\d+) ", written.read_text())
        assert told is not None
        assert httpx.get(f"{told[1]}/health/live", trust_env=False).status_code == 200
        body = {"model": "ok", "input": "Hi"}
        refused = httpx.post(f"{told[1]}/v1/embeddings", json=body, timeout=30, trust_env=False)
        assert (refused.status_code, refused.headers["x-semroute-cost-usd"]) == (400, "0")
        assert "the echo dialect has no embeddings" in refused.json()["error"]["message"]
    finally:
        process.terminate()
        assert process.wait(40) == 0


def test_keys_are_asked_for_where_they_are_set(write_routes: WriteRoutes, tmp_path: Path) -> None:
    keys = {"SEMROUTE_API_KEY": "caller-key", "SEMROUTE_ADMIN_KEY": "admin-key", "FAULTS_KEY": "sk-faults-key"}
    with Service(write_routes(tmp_path / "routes"), tmp_path / "log", **keys) as service:

        def status(method: str, path: str, key: str | None, header: str = "Authorization") -> int:
            value = f"Bearer {key}" if header == "Authorization" else str(key)
            headers = {header: value} if key else {}
            body = {"prompt": "x"} if method == "POST" else None
            return service.client.request(method, path, json=body, headers=headers).status_code

        assert status("POST", "/route", None) == 401
        assert status("POST", "/route", "wrong") == 401
        assert status("POST", "/route", "caller-key") == 200
        assert status("POST", "/route", "caller-key", "x-api-key") == 200
        assert status("GET", "/v1/models", None) == 401
        assert status("POST", "/admin/reload", "caller-key") == 401
        assert status("POST", "/admin/reload", "admin-key") == 200
        assert status("GET", "/health/live", None) == 200
        error = service.client.post("/v1/chat/completions", json={}).json()["error"]
        assert error["type"] == "authentication_error"
        assert "caller-key" not in service.log


def test_the_providers_key_is_nowhere_to_be_seen(service: Service) -> None:
    for stream in (False, True):
        answer = service.client.post("/complete", json={"prompt": "x", "model": "quotes-key", "stream": stream})
        assert "sk-faults-0123456789" not in answer.text
    assert "sk-faults-0123456789" not in service.log


def test_prompts_are_not_logged(service: Service) -> None:
    service.client.post("/complete", json={"prompt": "the secret word is abracadabra", "models": ["status-500", "ok"]})
    assert "abracadabra" not in service.log


def test_a_port_in_use_is_a_clear_error(semroute: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = semroute("serve", "--port", str(port))
    assert done.returncode == 2
    assert f"127.0.0.1:{port}: address already in use" in done.stderr
    assert "--port" in done.stderr


def test_other_machines_are_not_served_without_a_key(semroute: Run) -> None:
    done = semroute("serve", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "SEMROUTE_API_KEY" in done.stderr
    assert "--insecure" in done.stderr


def test_broken_routes_do_not_start(semroute: Run, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("routes:\n  - {name: a, treshold: 1}\n  - 7\n")
    done = semroute("serve", "--routes", tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/routes.yaml:2 $.routes[0]" in done.stderr
    assert f"{tmp_path}/routes.yaml:3 $.routes[1]: got 7" in done.stderr
