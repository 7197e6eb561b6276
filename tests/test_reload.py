"""What is in service follows the route files, and is never worse than the last good ones."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from semroute import reload
from semroute.config.folder import RouteFiles, read_files
from semroute.errors import ConfigError, OverloadedError
from semroute.reload import RETRY_S, SETTLE_S, Loaded, Reloader, ReloadStatus, load
from semroute.router import Router

MODELS = """
providers: {e: {dialect: echo}}
models: {m: {provider: e, name: %s}}
default: {models: [m]}
"""

ROUTES = """
routes:
  - {name: small-talk, models: [m], utterances: [hello there, how are you]}
  - {name: billing, models: [m], utterances: [why was I charged twice, where is my invoice]}
"""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A folder, and what is in service."""

    def __init__(self, folder: Path, loaded: Loaded) -> None:
        self.folder = folder
        self.served = [loaded.router]
        self.good: list[RouteFiles] = []
        self.clock = Clock()
        self.reloader = Reloader(folder, loaded, self.served.append, self.good.append, self.clock)

    @property
    def name(self) -> str:
        """Of the model in service."""
        return self.served[-1].config.models["m"].name

    @property
    def state(self) -> tuple[str, str | None]:
        """The model in service, and what is wrong with the files."""
        return self.name, self.reloader.status.error


def write(folder: Path, name: str) -> None:
    (folder / "models.yaml").write_text(MODELS % name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "routes"
    made.mkdir()
    write(made, "old")
    return made


async def test_an_edit_while_the_files_are_loaded_is_taken_up(folder: Path) -> None:
    loaded = load(folder)
    write(folder, "newer")  # before anybody watches
    watched = Watched(folder, loaded)
    await watched.reloader.look()
    assert watched.state == ("newer", None)


async def test_an_edit_that_looks_like_none_is_taken_up(folder: Path) -> None:
    watched = Watched(folder, load(folder))
    path = folder / "models.yaml"
    before = path.stat()
    path.write_text(MODELS % "new")  # as long as the old one, within one tick of the disk's clock
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    # The change time cannot be set back: the watcher is told that this is how the file has always looked.
    watched.reloader._seen = _as_seen(watched.reloader._seen, read_files(folder))
    watched.clock.now = SETTLE_S - 0.1
    await watched.reloader.look()
    assert watched.name == "new"


def _as_seen(known: RouteFiles, now: RouteFiles) -> RouteFiles:
    return RouteFiles(folder=known.folder, texts=known.texts, learned=known.learned, seen=now.seen)


async def test_files_that_nobody_changes_are_not_read(folder: Path) -> None:
    watched = Watched(folder, load(folder))
    watched.clock.now = 2 * SETTLE_S
    for _ in range(3):
        await watched.reloader.look()
    os.utime(folder / "models.yaml")
    await watched.reloader.look()  # it is read, and is the same
    assert len(watched.served) == 1


def break_yaml(folder: Path) -> None:
    (folder / "models.yaml").write_text("models: {broken: ]")


def break_meaning(folder: Path) -> None:
    (folder / "models.yaml").write_text("models: 5")


def empty(folder: Path) -> None:
    (folder / "models.yaml").unlink()


def put_a_folder_there(folder: Path) -> None:
    (folder / "more.yaml").mkdir()


def mend(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write(folder, "mended")


BROKEN: list[Callable[[Path], None]] = [break_yaml, break_meaning, empty, put_a_folder_there, shutil.rmtree]


@pytest.mark.parametrize("spoil", BROKEN, ids=lambda spoil: spoil.__name__)
async def test_a_process_that_starts_while_the_files_are_broken_begins_with_the_last_good_ones(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    good = read_files(folder)
    spoil(folder)
    with pytest.raises(ConfigError):
        load(folder)
    watched = Watched(folder, load(folder, good))
    assert watched.name == "old"
    assert watched.reloader.status.error is not None
    assert watched.good == [good]
    await watched.reloader.look()
    assert watched.name == "old"
    mend(folder)
    await watched.reloader.look()
    assert watched.state == ("mended", None)
    assert watched.good[-1].texts == read_files(folder).texts


async def test_files_that_cannot_be_used_for_another_reason_are_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as an embedding model that could not be downloaded."""
    watched = Watched(folder, load(folder))
    write(folder, "newer")
    with monkeypatch.context() as patch:
        patch.setattr(Router, "of", _fail)
        await watched.reloader.look()
        assert watched.reloader.status.error == "OSError: no network"
        watched.clock.now = RETRY_S[0]
        await watched.reloader.look()
    watched.clock.now += 1
    await watched.reloader.look()
    assert watched.reloader.status.error is not None  # the pause has grown
    watched.clock.now += 2 * RETRY_S[0]
    await watched.reloader.look()
    assert watched.state == ("newer", None)
    assert caplog.text.count("cannot be used") == 1


def _fail(*_: object, **__: object) -> Router:
    raise OSError("no network")


async def test_a_reload_says_in_one_line_what_it_changes(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(folder, "a")
    (folder / "routes.yaml").write_text(ROUTES)
    watched = Watched(folder, load(folder))
    (folder / "routes.yaml").write_text(ROUTES.replace("small-talk", "chat"))
    with caplog.at_level("INFO", "semroute.reload"):
        status = await watched.reloader.reload()
    [told] = [record.getMessage() for record in caplog.records if "reloaded" in record.getMessage()]
    assert told.startswith(f"route files reloaded: version {status.config_version} replaces ")
    assert (
        "2 of 4 utterances are decided otherwise (50.0%); small-talk → chat: 2; new routes: chat; routes gone" in told
    )


async def test_a_preview_swaps_nothing(folder: Path) -> None:
    write(folder, "a")
    (folder / "routes.yaml").write_text(ROUTES)
    watched = Watched(folder, load(folder))
    version = watched.reloader.status.config_version
    same = await watched.reloader.preview()
    assert (same.config_version, same.diff is not None and same.diff.changed) == (version, 0)
    (folder / "routes.yaml").write_text(ROUTES.replace("small-talk", "chat"))
    first, second = await asyncio.gather(watched.reloader.preview(), watched.reloader.preview())
    assert first is second
    assert first.diff is not None
    assert (first.diff.changed, first.config_version != version, first.error) == (2, True, None)
    (folder / "routes.yaml").write_text("routes: 7")
    broken = await watched.reloader.preview()
    assert (broken.config_version, broken.diff) == (version, None)
    assert "routes.yaml:1" in (broken.error or "")
    assert (len(watched.served), watched.reloader.status) == (1, ReloadStatus(config_version=version))


async def test_a_preview_that_takes_too_long_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "a")
    watched = Watched(folder, load(folder))
    monkeypatch.setattr(reload, "PREVIEW_S", 0.0)
    with pytest.raises(OverloadedError, match="were not ready after 0 s"):
        await watched.reloader.preview()
    monkeypatch.undo()
    assert (await watched.reloader.preview()).error is None
