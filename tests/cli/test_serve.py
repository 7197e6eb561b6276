"""What `semroute serve` says when it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from semroute.cli.serve import lines_at_start, uncallable
from semroute.config.load import load
from semroute.settings import Settings

ROUTES = """
providers:
  one: {base_url: "http://localhost:1/v1", api_key: "${FIRST_KEY}"}
  two: {base_url: "http://localhost:2/v1", api_key: "${SECOND_KEY}"}
models:
  small: {provider: one, name: small}
  large: {provider: two, name: large}
default: {models: [small, large]}
"""


@pytest.mark.parametrize(
    ("set_", "told"),
    [
        (
            (),
            "no model can be called: FIRST_KEY is not set; SECOND_KEY is not set (--echo answers without a provider)",
        ),
        (("FIRST_KEY",), "1 of 2 models cannot be called: SECOND_KEY is not set"),
        (("FIRST_KEY", "SECOND_KEY"), ""),
    ],
)
def test_the_start_tells_of_models_without_a_key(
    set_: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_KEY", "SECOND_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in set_:
        monkeypatch.setenv(name, "sk-0123456789")
    (tmp_path / "all.yaml").write_text(ROUTES)
    assert uncallable(load(tmp_path)) == told


def test_the_start_tells_which_folder_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "all.yaml").write_text(ROUTES)
    monkeypatch.chdir(tmp_path)
    address, access, folder = lines_at_start(
        Settings(echo=True, port=81, access="keys"), load(Path("routes")), "routes"
    )
    assert address.startswith("0 routes, an echo for every model, on http://127.0.0.1:81 (page: ")
    assert folder == f"the route files are in {tmp_path}/routes"
    assert access == "access is keys: every call needs a key"
