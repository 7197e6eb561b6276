from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from semroute.errors import EmbedderError, RequestError
from semroute.evaluation.baseline_savings import read_log, savings
from semroute.evaluation.folder_checks import unlearned
from semroute.evaluation.gain_fit import Labels
from semroute.evaluation.gain_training import read_labels, train
from semroute.evaluation.strong_share import share_errors
from semroute.messages import ChatRequest, Message, Text
from semroute.router import Router
from semroute.semantic.gain_file import FILE, load_gain, read_gain, save_gain
from tests.service import Service, until

ROUTES = """
providers: {local: {dialect: echo}}
models:
  small: {provider: local, name: small, tier: simple, input_price: 1, output_price: 1, quality: 0.6}
  large: {provider: local, name: large, tier: complex, input_price: 9, output_price: 9, quality: 0.9}
default: {models: [small, large]}
policy: {difficulty: {by: learned, strong_share: 0.5}}
routes:
  - {name: chat, models: [small, large], utterances: [hello, how are you, good morning, what is up, nice day]}
"""
EASY = ("what is the capital of {}?", "translate {} into French", "spell {} for me", "is {} a colour?")
HARD = ("prove that {} converges", "derive the equation of {}", "prove the theorem about {}", "integrate {} by parts")
WORDS = "apple river stone cloud music paper glass wheel forest candle".split()


def lines(*, signal: bool) -> list[str]:
    """Labels in which the strong model is better on hard prompts, or at random."""
    random = np.random.default_rng(0)
    made = []
    for word in WORDS:
        for hard, templates in ((False, EASY), (True, HARD)):
            for template in templates:
                better = hard if signal else bool(random.random() < 0.5)
                quality = {"small": 0.2 if better else 0.8, "large": 0.8}
                made.append(json.dumps({"prompt": template.format(word), "quality": quality}))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return tmp_path


def asked(text: str, model: str = "auto") -> ChatRequest:
    return ChatRequest(id="r", messages=(Message(role="user", parts=(Text(text=text),)),), model=model)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a signal was learned."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "routes.yaml").write_text(ROUTES)
    (folder / "labels.jsonl").write_text("\n".join(lines(signal=True)))
    router = Router.load(folder)
    report = train(router, read_labels(folder / "labels.jsonl", router.config.models), folder)
    assert report.learnable
    assert report.models == ("small", "large")
    assert report.correlation["large"] > 0.8
    assert list(report.shares) == list(report.share_errors) == ["0.1", "0.2", "0.3", "0.5", "0.7"]
    return folder


def test_what_was_learned_sends_the_hard_prompts_to_the_strong_model(trained: Path) -> None:
    router = Router.load(trained)
    hard = router.route(asked("prove that lemon converges"))
    easy = router.route(asked("what is the capital of lemon?"))
    assert (hard.model, easy.model) == ("large", "small")
    assert hard.difficulty is not None
    assert easy.difficulty is not None
    assert hard.difficulty > easy.difficulty
    assert sum(hard.contributions.values()) == pytest.approx(hard.difficulty, abs=0.01)
    assert "threshold" in hard.plan_details[0].why


def test_a_request_may_ask_for_its_own_share(trained: Path) -> None:
    router = Router.load(trained)
    assert router.route(asked("what is the capital of lemon?", "auto:difficulty-1")).model == "large"
    assert router.route(asked("prove that lemon converges", "auto:difficulty-0")).model == "small"


def test_the_file_is_bound_to_its_embedder_and_to_its_content(trained: Path, tmp_path: Path) -> None:
    router = Router.load(trained)
    assert router.gain is not None
    path = tmp_path / FILE
    save_gain(path, router.gain)
    assert read_gain(path).models == router.gain.models
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["bias"] = arrays["bias"] + 1
    with path.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(EmbedderError, match="checksum"):
        read_gain(path)
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(EmbedderError, match="is not a file that `semroute train` wrote"):
        read_gain(path)


def test_a_file_that_cannot_be_used_is_told_and_the_stronger_model_comes_first(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / FILE).write_bytes(b"rubbish")
    router = Router.load(folder)
    assert router.gain is None
    assert "run `semroute train` again" in caplog.text
    assert router.route(asked("hello")).model == "large"


def test_a_running_service_takes_up_what_was_learned(trained: Path, folder: Path, tmp_path: Path) -> None:
    hard, easy, unknown = "prove that lemon converges", "what is the capital of lemon?", "the difficulty is unknown"
    (tmp_path / "log").mkdir()
    with Service(folder, tmp_path / "log" / "log", "--echo") as service:

        def plan(prompt: str) -> tuple[str, str]:
            decision = service.client.post("/route", json={"prompt": prompt}).json()
            return decision["model"], decision["plan_details"][0]["why"]

        def becomes(prompt: str, model: str, why: str) -> bool:
            return until(lambda: plan(prompt)[0] == model and why in plan(prompt)[1])

        assert plan(easy)[0] == "large"
        assert unknown in plan(easy)[1]
        save_gain(folder / FILE, read_gain(trained / FILE))
        assert becomes(easy, "small", "under the threshold")
        assert plan(hard)[0] == "large"
        assert "at or over the threshold" in plan(hard)[1]

        learned = read_gain(trained / FILE)
        opposite = {view: -weights for view, weights in learned.weights.items()}
        save_gain(folder / FILE, msgspec.structs.replace(learned, weights=opposite, priors=-learned.priors))
        assert becomes(hard, "small", "under the threshold")

        (folder / FILE).write_bytes(b"rubbish")
        assert becomes(easy, "large", unknown)
        (folder / FILE).unlink()
        assert becomes(easy, "large", unknown)
        assert service.client.get("/health/ready").json()["status"] == "ready"


def test_another_embedders_file_is_not_used(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    router = Router.load(trained)

    class Other:
        name, dim, fingerprint = "other", 384, "f" * 16
        embed = router.embedder.embed
        tokens = router.embedder.tokens
        featurize = router.embedder.featurize
        count_tokens = router.embedder.count_tokens

    assert load_gain(router.config, Other()) is None
    assert "made with another embedded model" in caplog.text
    assert "run `semroute train` again" in caplog.text


def test_labels_without_a_signal_are_said_to_hold_none(
    folder: Path, semroute: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    labels = folder / "labels.jsonl"
    labels.write_text("\n".join(lines(signal=False)))
    done = semroute("train", labels, "--routes", folder)
    assert done.returncode == 1, done.stderr
    assert "These labels hold no signal that can be learned" in done.stdout
    assert not (folder / FILE).exists()
    shown = json.loads(semroute("route", "what is the capital of Peru?", "--routes", folder, "--json").stdout)
    assert shown["model"] == "large"
    plan = semroute("route", "what is the capital of Peru?", "--routes", folder, "--plan").stdout
    assert "strongest first, because the difficulty is unknown" in plan


def test_fewer_labels_than_asked_for_are_refused(
    folder: Path, semroute: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    labels = folder / "labels.jsonl"
    labels.write_text("\n".join(lines(signal=True)))
    done = semroute("train", labels, "--routes", folder, "--min-labels", "81")
    assert (done.returncode, "got 80 labels, expected at least 81" in done.stderr) == (1, True)
    assert not (folder / FILE).exists()


def test_the_expected_error_of_a_share_is_measured_and_falls_with_more_labels() -> None:
    few, many = (share_errors(noisy(n)) for n in (60, 600))
    for share in few:
        assert few[share] > many[share]
    assert few["0.3"] > 0.04
    assert many["0.3"] < 0.1


def noisy(n: int) -> Labels:
    """Labels of which one direction of the embedding tells something, and chance much."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(n, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gain = vectors[:, 0] + random.normal(scale=0.5, size=n)
    quality = np.stack([np.full(n, 0.2), np.clip(0.6 + gain, 0, 1)], axis=1).astype(np.float32)
    texts = tuple(f"prompt {number}" for number in range(n))
    return Labels(texts=texts, vectors=vectors, quality=quality, routes=(None,) * n, models=("small", "large"))


def test_the_expected_error_is_kept_and_read_between_the_shares(trained: Path, tmp_path: Path) -> None:
    gain = read_gain(trained / FILE)
    assert gain.share_error(0.3) == gain.share_errors["0.3"]
    assert gain.share_error(0) == gain.share_error(1) == 0
    known = msgspec.structs.replace(gain, share_errors={"0.1": 0.1, "0.3": 0.2})
    assert known.share_error(0.2) == pytest.approx(0.15)
    assert msgspec.structs.replace(gain, share_errors={}).share_error(0.2) is None


def test_a_share_that_the_labels_are_too_few_for_is_told(trained: Path, folder: Path) -> None:
    config = Router.load(trained).config
    told = {}
    for error in (0.1, 0.29):
        save_gain(folder / FILE, msgspec.structs.replace(read_gain(trained / FILE), share_errors={"0.5": error}))
        told[error] = [problem.message for problem in unlearned(folder, config)]
    assert told == {0.1: [], 0.29: ["got 0.5, but 80 labels are too few: the real share is expected to be off by 0.29"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected"),
        ('{"prompt": "x"}', "expected either `quality`, or `winner` and `loser`"),
        ('{"prompt": "x", "winner": "small"}', "expected either `quality`, or `winner` and `loser`"),
        ('{"prompt": "x", "quality": {"smal": 1}}', "got model 'smal', expected one of small, large"),
        ('{"prompt": "x", "quality": {"small": 2}}', "$.quality.small: got 2, expected a number from 0 to 1"),
        ('{"prompt": "x", "winner": "small", "loser": "small"}', "got 'small' as `winner` and as `loser`"),
        ("\n".join(['{"prompt": "x", "quality": {"small": 1}}'] * 50), "got answers of small alone"),
        ('{"prompt": "x", "winner": "small", "loser": "large"}', "got 1 labels, expected at least 50"),
        (
            "\n".join(['{"prompt": "x", "quality": {"small": 1}}', '{"prompt": "x", "quality": {"large": 1}}'] * 25),
            "got no label that compares large with small, the cheapest model, expected some",
        ),
    ],
)
def test_a_label_that_cannot_be_used_is_named(folder: Path, line: str, message: str) -> None:
    path = folder / "labels.jsonl"
    path.write_text(line)
    models = Router.load(folder).config.models
    with pytest.raises(RequestError) as caught:
        read_labels(path, models)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_label_names_a_model_and_no_deployment_of_it(folder: Path) -> None:
    path = folder / "labels.jsonl"
    path.write_text('{"prompt": "x", "winner": "large@local", "loser": "small"}')
    (folder / "routes.yaml").write_text(
        ROUTES.replace("quality: 0.9", "quality: 0.9, deployments: [{provider: local}]")
    )
    with pytest.raises(RequestError, match=":1: got the deployment 'large@local', expected its model, 'large'"):
        read_labels(path, Router.load(folder).config.models)


def test_savings_are_what_the_baseline_costs_more(folder: Path) -> None:
    log = folder / "log.jsonl"
    rows = [{"prompt": "hello", "input_tokens": 1_000_000, "output_tokens": 0}] * 2
    log.write_text("\n".join(map(json.dumps, rows)))
    ordered = ROUTES.replace("difficulty: {by: learned, strong_share: 0.5}", "select: ordered")
    (folder / "routes.yaml").write_text(ordered)
    found = savings(Router.load(folder), read_log(log), "large")
    assert (float(found.before_usd), float(found.after_usd), found.saved) == (18, 2, 0.8889)
    assert found.by_model == {"small": 2}


def test_savings_are_measured_against_the_baseline_of_the_route_files(
    folder: Path, semroute: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    log = folder / "log.jsonl"
    log.write_text(json.dumps({"prompt": "hello", "input_tokens": 1_000_000, "output_tokens": 0}))
    always = ROUTES.replace("difficulty: {by: learned, strong_share: 0.5}", "select: best")
    for baseline, shown in (
        ("", "all to large: 9.00 USD\nrouted: 9.00 USD, 0.0% less\n"),
        ("baseline: small\n", "all to small: 1.00 USD\nrouted: 9.00 USD, 800.0% more\n"),
    ):
        (folder / "routes.yaml").write_text(always + baseline)
        assert shown in semroute("savings", log, "--routes", folder).stdout


def test_a_log_line_that_cannot_be_read_is_named(folder: Path) -> None:
    log = folder / "log.jsonl"
    log.write_text('{"prompt": "x"}')
    with pytest.raises(RequestError, match=r"log\.jsonl:1: .*output_tokens"):
        read_log(log)
    log.write_text("\n")
    with pytest.raises(RequestError, match="holds no rows"):
        read_log(log)
