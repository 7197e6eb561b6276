from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from semroute.config import folder as module
from semroute.config.config import Config
from semroute.config.load import default_folder, load, read
from semroute.config.schema.resilience import RateLimits
from semroute.config.schema.route_file import RouteFile
from semroute.errors import ConfigError
from tests.config.reading import ROUTE, Read, said, sound

Write = Callable[..., Path]

# --- the folder -------------------------------------------------------------------------------------------------------


def test_the_shipped_routes_load() -> None:
    config, problems = read(Path(__file__).parents[2] / "routes", {})
    assert config is not None, problems
    assert {problem.severity for problem in problems} <= {"warning"}


def test_all_files_make_one_config(read_files: Read) -> None:
    config = sound(
        read_files(
            b=ROUTE,
            a=ROUTE.replace("billing", "other")
            .replace("one,", "ONE more,")
            .replace("two, three, four, five", "2 x, 3 x, 4 x, 5 x"),
        )
    )
    assert list(config.routes) == ["other", "billing"]
    assert config.routes["billing"].utterances == ("one", "two", "three", "four", "five")
    assert config.models["small"].id == "small"
    assert config.providers["local"].id == "local"
    assert config.default.models == ("large",)


def test_each_model_knows_what_its_provider_takes(read_files: Read) -> None:
    text = """
        providers:
          p:
            base_url: "https://p.example/v1"
            limits:
              rpm: ${RPM}
              concurrency: 3
          q: {base_url: "https://q.example/v1"}
        models:
          m: {provider: p, name: m, input_price: 1, output_price: 1, deployments: [{provider: q}]}
    """
    config, _ = read_files({"RPM": "7"}, a=text)
    assert config is not None
    assert config.models["m"].account == RateLimits(rpm=7, concurrency=3)
    assert config.models["m@q"].account == RateLimits()


def test_yml_is_read_and_hidden_files_and_folders_are_not(write: Write, tmp_path: Path) -> None:
    write(base="providers: {e: {dialect: echo}}\nmodels: {m: {provider: e, name: m}}")
    (tmp_path / "more.yml").write_text("default: {models: [m]}")
    (tmp_path / ".hidden.yaml").write_text("nonsense: [")
    (tmp_path / "notes.txt").write_text("nonsense: [")
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "x.yaml").write_text("nonsense: [")
    assert load(tmp_path).default.models == ("m",)


def test_a_missing_folder_is_a_problem_that_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"routes \$: no such folder: .*`semroute init .*routes`"):
        load(tmp_path / "routes")


def test_a_file_in_place_of_the_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "routes").write_text("")
    with pytest.raises(ConfigError, match=r"routes \$: got a file, expected a folder with \*\.yaml"):
        load(tmp_path / "routes")


def test_an_empty_folder_is_a_problem_that_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no routes: expected at least one \*\.yaml \(`semroute init "):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "~\n"])
def test_an_empty_file_is_nothing(read_files: Read, text: str) -> None:
    sound(read_files(empty=text))


@pytest.mark.parametrize(
    ("text", "got"), [("- a\n", "a list"), ("a\n", '"a"'), ("3\n", "3"), ("yes\n", "true"), ("[]\n", "an empty list")]
)
def test_a_file_that_is_no_mapping_is_a_problem(read_files: Read, text: str, got: str) -> None:
    assert said(read_files(x=text)) == [
        f"x.yaml:1 $: got {got}, expected a mapping with keys such as `routes` and `models`"
    ]


def test_a_folder_named_like_a_file_is_a_problem(read_files: Read, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    assert said(read_files()) == ["x.yaml $: cannot be read: expected a regular file"]


def test_a_broken_link_is_a_problem(read_files: Read, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").symlink_to(tmp_path / "gone")
    assert said(read_files()) == ["x.yaml $: cannot be read: No such file or directory"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_problem(read_files: Read, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").touch(mode=0o000)
    assert said(read_files()) == ["x.yaml $: cannot be read: Permission denied"]


def test_a_file_that_is_not_utf8_is_a_problem_with_its_line(read_files: Read, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"routes:\n- name: caf\xe9\n")
    assert said(read_files()) == ["x.yaml:2 $: byte 19 is not UTF-8, expected UTF-8 text"]


def test_a_byte_order_mark_is_passed_over(read_files: Read) -> None:
    sound(read_files(x="\ufeff" + ROUTE))


def test_a_file_that_is_too_large_is_a_problem(
    read_files: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1024 * 1024)
    (tmp_path / "x.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    assert said(read_files()) == ["x.yaml $: cannot be read: larger than 1 MiB"]


def test_the_default_folder_is_the_working_directorys_else_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (default_folder() / "models.yaml").is_file()
    (tmp_path / "routes").mkdir()
    assert default_folder() == Path("routes")


def test_the_version_changes_with_names_and_contents_only(write: Write, tmp_path: Path) -> None:
    folder = write(base="providers: {e: {dialect: echo}}\nmodels: {m: {provider: e, name: m}}\ndefault: {models: [m]}")
    first = load(folder).version
    assert len(first) == 12
    assert load(folder).version == first
    (tmp_path / "base.yaml").rename(tmp_path / "other.yaml")
    second = load(folder).version
    with (tmp_path / "other.yaml").open("a") as file:
        file.write("\n")
    assert len({first, second, load(folder).version}) == 3


def test_load_raises_every_error_and_no_warning(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(a="routez: 1\nabstain: {threshold: 2}\nroutes: []"))
    assert {problem.severity for problem in caught.value.problems} == {"error"}
    assert len(caught.value.problems) == 5  # these two; no default, no models, no providers


# --- size and surprise ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="without libyaml it takes longer")
def test_fifteen_thousand_utterances_load_in_two_seconds_of_the_processor(write: Write) -> None:
    lines = [
        "providers: {e: {dialect: echo}}",
        "models: {m: {provider: e, name: m}}",
        "default: {models: [m]}",
        "routes:",
    ]
    for route in range(150):
        lines += [f"- name: route-{route}", "  models: [m]", "  utterances:"]
        lines += [f"  - what does utterance {number} of route {route} want" for number in range(100)]
    folder = write(all="\n".join(lines))
    start = time.process_time()
    config = load(folder, {})
    assert time.process_time() - start < 2
    assert sum(len(route.utterances) for route in config.routes.values()) == 15_000


keys = st.sampled_from([*RouteFile.__struct_fields__, "name", "utterances", "when", "metadata", "provider", "api_key"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.datetimes() | st.text()
values = st.recursive(
    scalars | st.sampled_from(["${A}", "${B:-1}", "${", "small"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | scalars, inner, max_size=4),
    max_leaves=20,
)
documents = st.dictionaries(keys, values, max_size=5).map(lambda value: yaml.safe_dump(value).encode()) | st.binary()
fragments = st.lists(
    st.sampled_from(["routes:", "\n", "- ", "  ", "&a ", "*a", "<<: ", "{", "}", "[", "]", ",", "name: ", "x", "!!int ",
                     "!!float ", "!!timestamp ", "!!bool ", "? ", ": ", "'", '"', "1", "2026-01-01", "|\n", "---\n"]),
    max_size=30,
).map(lambda parts: "".join(parts).encode())  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(data=documents | fragments)
def test_any_file_ends_in_a_config_or_a_config_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.yaml").write_bytes(data)
        (Path(folder) / "base.yaml").write_text("models: {small: {provider: p, name: s}}")
        try:
            assert isinstance(load(Path(folder), {}), Config)
        except ConfigError as error:
            assert error.problems
            assert all(problem.message and problem.path.startswith("$") for problem in error.problems)
