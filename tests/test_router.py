from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from semroute import Decision, Router
from semroute.config.load import load
from semroute.decision import Signals
from semroute.errors import ConfigError, UnknownModelError, UnknownRouteError
from semroute.messages import ChatRequest, Image, Message, Text, Tool, new_id

MODELS = """
providers: {here: {dialect: echo}}
models:
  small: {provider: here, name: small-1, input_price: 1, output_price: 2, context_tokens: 1000, features: [tools]}
  large: {provider: here, name: large-1, input_price: 10, output_price: 20, features: [tools, json, vision]}
default: {models: [large]}
rules:
  - {name: long, when: {input_tokens: {gt: 5000}}, models: [large]}
  - {name: forced, when: {metadata: {team: legal}}, route: weather}
"""
ROUTES = """
routes:
  - name: weather
    utterances: [will it rain tomorrow, how cold is it outside, is a storm coming this weekend]
    models: [small, large]
  - name: cooking
    utterances: [how do I bake bread, a recipe for tomato soup, how long do I boil an egg]
    models: [small, large]
    threshold: 0.9
"""


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    folder = tmp_path_factory.mktemp("routes")
    (folder / "models.yaml").write_text(MODELS)
    (folder / "routes.yaml").write_text(ROUTES)
    return Router.load(folder)


def request(text: str = "hello", **fields: object) -> ChatRequest:
    values = {"id": new_id(), "messages": (Message(role="user", parts=(Text(text=text),)),)} | fields
    return ChatRequest(**values)  # type: ignore[arg-type]  # a test's shorthand


def test_an_utterance_is_matched_by_itself(router: Router) -> None:
    decision = router.route("how cold is it outside")
    assert (decision.route, decision.reason, decision.model) == ("weather", "semantic", "small")
    nearest = decision.candidates[0].nearest
    assert nearest is not None
    assert nearest.utterance == "how cold is it outside"
    assert nearest.similarity == pytest.approx(1, abs=1e-3)
    assert decision.plan == ("small", "large")
    assert decision.margin == pytest.approx(decision.candidates[0].confidence - decision.candidates[1].confidence)


def test_a_paraphrase_is_matched(router: Router) -> None:
    assert router.route("do I need an umbrella, is rain expected?").route == "weather"


def test_what_no_route_knows_goes_to_the_default(router: Router) -> None:
    decision = router.route("my printer is on fire and the dog ate the manual")
    assert (decision.route, decision.reason, decision.model) == (None, "default", "large")
    assert "below its threshold" in decision.explanation
    assert len(decision.candidates) == 2


def test_a_routes_own_threshold_counts(router: Router) -> None:
    own = router.route("how do I bake bread")
    assert (own.threshold, own.threshold_from) == (0.9, "route")
    other = router.route("will it rain tomorrow")
    assert other.threshold_from == "calibrated"
    assert 0 < other.threshold < 1


def test_confidences_are_shares_of_one(router: Router) -> None:
    (match,) = router.match(["will it rain tomorrow"])
    assert sum(candidate.confidence for candidate in match.candidates) <= 1.001
    assert all(0 <= candidate.confidence <= 1 for candidate in match.candidates)


def test_matching_together_is_matching_alone(router: Router) -> None:
    texts = ["will it rain tomorrow", "how do I bake bread", "x"]
    assert router.match(texts) == [router.match([text])[0] for text in texts]


def test_a_pinned_model_is_the_plan(router: Router) -> None:
    decision = router.route(request(model="large"))
    assert (decision.reason, decision.plan, decision.route) == ("pinned", ("large",), None)
    assert router.route(request(model="small-1")).plan == ("small",)
    assert router.route(request(models=("large", "small", "large"))).plan == ("large", "small")
    assert router.route(request(model="small", models=("large",))).plan == ("small", "large")


def test_a_route_can_be_forced(router: Router) -> None:
    decision = router.route(request(model="auto:cooking"))
    assert (decision.reason, decision.route, decision.plan) == ("pinned", "cooking", ("small", "large"))


def test_names_that_do_not_exist_are_errors(router: Router) -> None:
    with pytest.raises(UnknownModelError, match="did you mean large"):
        router.route(request(model="lage"))
    with pytest.raises(UnknownRouteError, match="did you mean weather"):
        router.route(request(model="auto:wether"))


def test_rules_decide_before_the_match(router: Router) -> None:
    long = router.route("word " * 6000)
    assert (long.reason, long.rule, long.route, long.plan) == ("rule", "long", None, ("large",))
    forced = router.route(request(metadata={"team": "legal"}))
    assert (forced.reason, forced.rule, forced.route) == ("rule", "forced", "weather")


def test_a_model_that_lacks_what_is_asked_is_left_out(router: Router) -> None:
    picture = Message(role="user", parts=(Text(text="will it rain tomorrow"), Image(url="https://x/y.png")))
    decision = router.route(request(messages=(picture,)))
    assert decision.plan == ("large",)
    assert decision.rejected == {"small": "lacks vision"}
    assert router.route(request("will it rain", tools=(Tool(name="sky"),))).plan == ("small", "large")


def test_a_model_whose_window_is_too_small_is_left_out(router: Router) -> None:
    decision = router.route("will it rain tomorrow " * 200)
    assert decision.plan == ("large",)
    assert "its window holds 1000" in decision.rejected["small"]


def test_what_cannot_be_called_is_left_out(router: Router) -> None:
    decision = router.route(request("will it rain tomorrow"), Signals(unavailable={"small": "KEY is not set"}))
    assert decision.plan == ("large",)
    assert decision.rejected == {"small": "KEY is not set"}
    none = router.route(request(model="small"), Signals(unavailable={"small": "KEY is not set"}))
    assert (none.model, none.plan) == (None, ())


def test_the_last_user_turn_is_matched(router: Router) -> None:
    turns = (
        Message(role="user", parts=(Text(text="how do I bake bread"),)),
        Message(role="assistant", parts=(Text(text="With flour."),)),
        Message(role="user", parts=(Text(text="will it rain tomorrow"),)),
    )
    assert router.route(request(messages=turns)).route == "weather"
    silent = Message(role="user", parts=(Image(url="https://x/y.png"),))
    assert router.route(request(messages=(silent,))).reason == "default"


def test_the_estimate_is_the_models_price(router: Router) -> None:
    decision = router.route("will it rain tomorrow")
    estimate = decision.estimate
    assert estimate.output_tokens == 300
    assert estimate.cost_usd * 1_000_000 == estimate.input_tokens * 1 + 300 * 2


def test_a_reload_embeds_only_what_is_new(router: Router, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    (tmp_path / "routes.yaml").write_text(ROUTES.replace("a recipe for tomato soup", "a recipe for onion soup"))
    told: list[tuple[int, int]] = []
    again = Router.build(load(tmp_path), previous=router, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    same = [row for row in range(6) if row != 4]  # the one that was edited
    assert np.array_equal(again.vectors[same], router.vectors[same])
    assert not np.array_equal(again.vectors[4], router.vectors[4])
    assert again.embedder is router.embedder
    assert again.config.version != router.config.version
    assert again.route("a recipe for onion soup").route == "cooking"
    assert np.array_equal(router.embedder.embed(["x"]), again.embedder.embed(["x"]))
    remembered = len(router._recent)
    router.route("a prompt that only this test asks")
    again.route("a prompt that only this test asks")
    assert len(again._recent) == remembered + 1


def test_without_routes_all_goes_to_the_default(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS.partition("rules:")[0])
    decision = Router.load(tmp_path).route("anything")
    assert (decision.reason, decision.plan) == ("default", ("large",))


def test_bad_files_are_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no routes: expected at least one \*.yaml"):
        Router.load(tmp_path)


def test_ids_sort_by_time() -> None:
    ids = [new_id() for _ in range(3)]
    assert len(set(ids)) == 3
    assert [i[:12] for i in ids] == sorted(i[:12] for i in ids)


def test_a_decision_cannot_be_changed(router: Router) -> None:
    decision: Decision = router.route("will it rain tomorrow")
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        decision.route = "cooking"  # type: ignore[misc]
