from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from semroute.errors import SettingsError
from semroute.settings import read
from tests.service import Service

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_words_may_be_written_in_any_case() -> None:
    settings = read({"SEMROUTE_LOG_LEVEL": "INFO", "SEMROUTE_LOG_FORMAT": " Json ", "SEMROUTE_ECHO": "True"})
    assert (settings.log_level, settings.log_format, settings.echo) == ("info", "json", True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LOG_LEVEL", "loud", "SEMROUTE_LOG_LEVEL: got 'loud'; expected one of debug, info, warning, error"),
        ("LOG_FORMAT", "xml", "SEMROUTE_LOG_FORMAT: got 'xml'; expected one of text, json"),
        ("ECHO", "maybe", "SEMROUTE_ECHO: got 'maybe'; expected one of true, false"),
        ("PORT", "99999", "SEMROUTE_PORT: got '99999'; expected a whole number of at least 0 and of at most 65535"),
        ("KEEPALIVE_S", "0", "SEMROUTE_KEEPALIVE_S: got '0'; expected a number above 0"),
        ("WORKERS", "many", "SEMROUTE_WORKERS: got 'many'; expected a whole number of at least 1"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_expected(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read({f"SEMROUTE_{name}": value})
    assert str(caught.value) == message


def test_every_command_takes_the_folder_of_the_settings(
    semroute: Run, write_routes: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = str(write_routes(tmp_path / "named"))
    decision = json.loads(semroute("route", "--json", "why was I charged twice", SEMROUTE_ROUTES=folder).stdout)
    assert decision["route"] == "billing"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "all.yaml").write_text("routes: {broken: ]")
    checked = semroute("check", SEMROUTE_ROUTES=str(tmp_path / "broken"))
    assert checked.returncode == 1
    assert "broken/all.yaml" in checked.stdout + checked.stderr
    measured = json.loads(semroute("eval", "--json", SEMROUTE_ROUTES=folder).stdout)
    assert set(measured["per_route"]) >= {"billing", "coding"}


def test_the_servers_lines_are_json_too(write_routes: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = write_routes(tmp_path / "routes")
    with Service(folder, tmp_path / "log", SEMROUTE_LOG_FORMAT="json", SEMROUTE_LOG_LEVEL="INFO") as service:
        service.client.post("/complete", json={"prompt": "Hi", "model": "ok"})
        service.stop()
    loggers = {json.loads(line)["logger"] for line in service.log.splitlines()}
    assert {"uvicorn.error", "semroute"} <= loggers
