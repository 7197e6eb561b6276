"""One order at a time in a process of its own: refused, ended, too slow, and gone."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from semroute import Router
from semroute.api import learning_jobs
from semroute.api.learning_endpoints import Maps
from semroute.api.learning_jobs import LearningJob, LearningJobs
from semroute.config.folder import RouteFiles, read_files
from semroute.errors import LimitError, NotFoundError, OverloadedError, RequestError, StoreError
from semroute.learning.service_jobs import WORKS, Order
from tests.learning.logs import FOLDER, many_utterances, write_folder
from tests.service import Service, until

REQUEST: Any = None
"""Only refusals look at the request."""


def order(url: str, work: str = "suggest", files: RouteFiles | None = None) -> Order:
    files = files or RouteFiles(folder="routes", texts={})
    return Order(work=work, body=msgspec.Raw(b"\x80"), database_url=url, files=files, now=0.0)


def jobs(tmp_path: Path, deadline_s: float = 600) -> LearningJobs:
    return LearningJobs(f"sqlite:///{tmp_path}/log.db", deadline_s)


async def events(job: LearningJob) -> list[dict[str, Any]]:
    await job.open()
    return [json.loads(line) async for line in job.events()]


async def test_one_order_runs_at_a_time(tmp_path: Path) -> None:
    desk = jobs(tmp_path)
    first = desk.begin(REQUEST, order("", "replay"))
    with pytest.raises(LimitError, match="`replay` is under way") as refused:
        desk.begin(REQUEST, order(""))
    assert refused.value.retry_after_s > 0
    await first.aclose()
    second = desk.begin(REQUEST, order(""))
    await first.aclose()  # a second end of the first one must not free the place of the second one
    with pytest.raises(LimitError, match="`suggest` is under way"):
        desk.begin(REQUEST, order(""))
    await second.aclose()


def test_a_log_in_memory_is_out_of_reach() -> None:
    with pytest.raises(RequestError, match="set SEMROUTE_DATABASE_URL"):
        LearningJobs("memory:").begin(REQUEST, order("memory:"))


async def test_a_result_is_the_last_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "routes")
    job = jobs(tmp_path).begin(REQUEST, order(f"sqlite:///{tmp_path}/log.db", "replay", read_files(folder)))
    *progress, last = await events(job)
    assert all(list(line) == ["progress"] for line in progress)
    assert last["result"]["report"]["rows"] == 0
    assert job.whole
    await job.aclose()


async def test_an_error_of_the_work_is_one_of_the_caller(tmp_path: Path) -> None:
    job = jobs(tmp_path).begin(REQUEST, order(f"sqlite:///{tmp_path}/log.db", files=read_files(tmp_path / "none")))
    with pytest.raises(RequestError, match="no such folder"):
        await events(job)
    assert not job.whole
    assert json.loads(job.failure(RequestError("why")))["error"] == {"message": "why", "code": "invalid_request"}
    await job.aclose()


async def test_a_database_that_is_away_is_no_fault_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"this is no database" * 100)
    folder = write_folder(tmp_path / "routes")
    job = jobs(tmp_path).begin(REQUEST, order(f"sqlite:///{tmp_path}/log.db", "replay", read_files(folder)))
    with pytest.raises(StoreError):
        await events(job)
    await job.aclose()


async def test_work_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    job = jobs(tmp_path, deadline_s=0).begin(REQUEST, order(""))
    with pytest.raises(OverloadedError, match="`semroute suggest`"):
        await job.open()
    process = job._process
    await job.aclose()
    assert process is not None
    assert process.returncode == -9


async def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    job = jobs(tmp_path).begin(REQUEST, order("", "no such work"))
    with pytest.raises(OverloadedError, match="ended with status 1 and without a result"):
        await job.open()
    await job.aclose()


async def test_a_result_that_is_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_jobs, "MAX_LINE_BYTES", 100)
    folder = write_folder(tmp_path / "routes")
    job = jobs(tmp_path).begin(REQUEST, order(f"sqlite:///{tmp_path}/log.db", "replay", read_files(folder)))
    with pytest.raises(OverloadedError, match="choose fewer days"):
        await events(job)
    await job.aclose()


async def test_the_end_of_the_service_ends_the_work(tmp_path: Path) -> None:
    desk, files = jobs(tmp_path), read_files(write_folder(tmp_path / "routes"))
    job = desk.begin(REQUEST, order(f"sqlite:///{tmp_path}/log.db", "replay", files))
    await job.open()
    process = job._process
    assert process is not None
    await desk.aclose()
    assert process.returncode is not None
    await desk.aclose()  # nothing is under way any more
    await desk.begin(REQUEST, order("")).aclose()


def test_a_caller_who_leaves_ends_the_work(service: Service) -> None:
    files = {"a.yaml": many_utterances(20_000)}
    with service.client.stream("POST", "/learning/replay", json={"files": files}) as answer:
        lines = answer.iter_lines()  # it closes the connection when it is dropped
        first = json.loads(next(lines))
        assert first["progress"]["doing"].startswith("embedding utterances")
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert workers(service)
        busy = service.client.post("/learning/drift", json={})
        assert (busy.status_code, busy.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(busy.headers["retry-after"]) > 0
    assert until(lambda: not workers(service))
    assert until(lambda: service.client.post("/learning/drift", json={}).status_code != 429)


def workers(service: Service) -> list[str]:
    """The processes of a service that do such work."""
    pid = service.process.pid
    children = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    commands = [Path(f"/proc/{child}/cmdline") for child in " ".join(children).split()]
    return [child for path in commands if path.exists() and "service_jobs" in (child := path.read_text())]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("drift", {"windows": 99}, "windows: got 99"),
        ("drift", {"window_days": 0}, "window_days: got 0"),
        ("replay", {"days": "all"}, "days: got"),
        ("replay", {"folder": "/etc"}, "folder"),
        ("replay", {"files": ["a.yaml"]}, "files: got"),
        ("replay", {"files": {"a.yaml": "routes: ["}}, "a.yaml:1"),
        ("suggest", {"days": 1e-7}, "got 0 different prompts"),
        ("map", {"prompt": " "}, "prompt: got no text"),
        ("map", {}, "prompt"),
        ("map", {"prompt": "x" * 100_001}, "got 100,001 characters"),
    ],
)
def test_a_bad_request_is_told(service: Service, path: str, body: dict[str, Any], told: str) -> None:
    answer = service.client.post(f"/learning/{path}", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_a_prompt_lies_near_its_route(service: Service) -> None:
    drawn = service.client.get("/learning/map").json()
    assert [route["name"] for route in drawn["routes"]] == ["billing", "coding"]
    assert len(drawn["points"]) == drawn["utterances"] == 10
    placed = service.client.post("/learning/map", json={"prompt": "why was I charged twice"}).json()
    assert (placed["route"], placed["config_version"]) == ("billing", drawn["config_version"])
    assert placed["candidates"][0]["nearest"]["utterance"] == "why was I charged twice this month"
    billing, coding = ((route["x"] - placed["x"]) ** 2 + (route["y"] - placed["y"]) ** 2 for route in drawn["routes"])
    assert billing < coding


def test_only_readers_of_the_whole_log_may_learn_from_it(
    write_routes: Callable[[Path], Path], tmp_path: Path, semroute: Callable[..., Any]
) -> None:
    folder = write_routes(tmp_path / "routes")
    environ = {"SEMROUTE_DATABASE_URL": f"sqlite:///{tmp_path}/semroute.db"}

    def key(*options: str) -> dict[str, str]:
        made = semroute("keys", "create", *options, "--json", **environ)
        assert made.returncode == 0, made.stderr
        return {"authorization": f"Bearer {json.loads(made.stdout)['key']}"}

    caller, reader, narrow = key(), key("--scope", "read"), key("--scope", "read", "--route", "billing")
    with Service(folder, tmp_path / "log", FAULTS_KEY="sk-faults-0123456789") as guarded:
        for method, path in (("GET", "map"), ("POST", "map"), *(("POST", work) for work in WORKS)):
            for headers, status in (({}, 401), (caller, 403), (narrow, 403)):
                answer = guarded.client.request(method, f"/learning/{path}", headers=headers)
                assert answer.status_code == status, (path, headers)
        assert guarded.client.get("/learning/map", headers=reader).status_code == 200
        assert guarded.client.get("/metrics", headers=narrow).status_code == 403


async def test_the_map_is_drawn_once_for_each_version(tmp_path: Path) -> None:
    maps, router = Maps(), Router.load(write_folder(tmp_path / "routes"))
    first = await maps.of(router)
    assert await maps.of(router.on(datetime.date(2030, 1, 1))) is first
    other = Router.load(write_folder(tmp_path / "other", sport="small"), previous=router)
    assert json.loads((await maps.of(other))[1])["config_version"] == other.config.version != router.config.version


async def test_without_routes_there_is_no_map(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(FOLDER.partition("routes:")[0])
    with pytest.raises(NotFoundError, match="define no routes"):
        await Maps().of(Router.load(tmp_path))
