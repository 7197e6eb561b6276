"""The shadow puts requests to another model, or to another folder, and no caller notices."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from semroute.trials import candidate_folder
from tests.trials.conftest import OpenStage
from tests.trials.stage import Cast, Stage, calling, failing, routes_yaml

SHADOW = "shadow: {to: large, share: 1, budget_usd_per_day: 100}"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_request_is_put_to_the_strong_model(open_stage: OpenStage, stream: bool) -> None:
    stage = await open_stage(Cast(small="It is Paris", large="It  is Paris"), SHADOW)
    own: dict[str, Any] = {"user": "ann", "metadata": {"a": "b"}, "store": True, "n": 1}
    asked = {"temperature": 0.3, "max_tokens": 50, **own}
    assert (await stage.ask(stream=stream, **asked)).replace(" ", "") == "ItisParis"
    await stage.outcomes(1)
    [trial] = stage.trials
    assert (trial.purpose, trial.served, trial.model, trial.method) == ("shadow", "small", "large", "agreement")
    assert (trial.judge, trial.verdict, trial.served_score, trial.error) == ("", "", None, None)
    assert (trial.detail["same_text"] or stream) and trial.detail["same_finish_reason"] is True
    assert [(one.model, one.purpose) for one in trial.attempts] == [("large", "shadow")]
    assert trial.cost_usd == Decimal("0.0012") == await stage.budget.spent_usd("shadow")
    [got] = stage.bodies("large")
    assert {"model": "large-1", "temperature": 0.3}.items() <= got.items()
    assert got["messages"] == [{"role": "user", "content": "What is the capital?"}]
    assert not own.keys() & got.keys() and not got.get("stream")


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_declared_and_their_calls_compared(open_stage: OpenStage, stream: bool) -> None:
    said = {"small": calling("look_up", city="Paris", n=1), "large": calling("look_up", n=1, city="Paris")}
    stage = await open_stage(Cast(**said), SHADOW)
    await stage.ask(stream=stream, tools=[TOOL])
    await stage.outcomes(1)
    [trial] = stage.trials
    assert trial.detail["same_tool_calls"] is True
    assert [tool["function"]["name"] for tool in stage.bodies("large")[0]["tools"]] == ["look_up"]
    assert len(stage.server.requests) == 2, "each model is called once, and no tool is run"


@pytest.mark.parametrize(
    ("small", "large", "same"),
    [
        ('{"a": 1, "b": [2]}', '```json\n{"b":[2],"a":1}\n```', True),
        ('{"a": 1}', '{"a": 2}', False),
        ("[1]", "1", False),
    ],
)
async def test_documents_are_compared(open_stage: OpenStage, small: str, large: str, same: bool) -> None:
    stage = await open_stage(Cast(small=small, large=large), SHADOW)
    await stage.ask()
    await stage.outcomes(1)
    assert stage.trials[0].detail["same_json"] is same


async def test_a_judge_compares_the_answer_with_that_of_the_shadow(open_stage: OpenStage) -> None:
    text = "shadow: {to: large, share: 0.5}\njudge: {model: judge, share: 0.5, pairwise: shadow}"
    stage = await open_stage(Cast(small="Paris", large="Rome", judge='{"better": "tie"}'), text)
    for _ in range(40):
        await stage.ask()
    drawn = stage.runner._queue.qsize()
    await stage.outcomes(drawn)
    judged = [trial for trial in stage.trials if trial.purpose == "judge"]
    shadowed = [trial for trial in stage.trials if trial.purpose == "shadow"]
    assert 10 <= len(shadowed) <= 30 and 0 < len(judged) < len(shadowed)
    assert {(one.method, one.model, one.verdict) for one in judged} == {("pairwise", "large", "tie")}
    assert [one.propensity for one in judged] == pytest.approx([0.25] * len(judged))
    assert [one.propensity for one in shadowed] == pytest.approx([0.5] * len(shadowed))
    assert {attempt.model for one in judged for attempt in one.attempts} == {"judge"}


# --- what may not be put to another model -----------------------------------------------------------------------------


async def drawn(stage: Stage, **body: Any) -> bool:
    """Whether a request is drawn for a trial."""
    before = stage.runner._queue.qsize()
    await stage.ask(**body)
    return stage.runner._queue.qsize() > before


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "web_search"}]},
        {"web_search_options": {"search_context_size": "low"}},
        {"tools": [TOOL, {"type": "mcp", "server_url": "https://example.com"}]},
    ],
    ids=["hosted", "searches", "mcp"],
)
async def test_what_a_provider_would_do_twice_is_not_drawn(open_stage: OpenStage, body: dict[str, Any]) -> None:
    stage = await open_stage(Cast(small="Paris", large="Rome"), SHADOW)
    assert not await drawn(stage, **body)
    assert await drawn(stage)


@pytest.mark.parametrize(
    ("text", "body", "reason"),
    [
        ("rules: [{name: here, when: {turns: {lt: 9}}, only: {models: [small]}}]", {}, "barred"),
        ("policy: {regions: [eu]}", {}, "barred"),
        ("", {"tools": [TOOL]}, "unfit"),
    ],
)
async def test_where_a_request_must_not_go_it_does_not_go(
    open_stage: OpenStage, text: str, body: dict[str, Any], reason: str
) -> None:
    models = "regions: [eu]}" if "regions" in text else "}"
    stage = await open_stage(
        Cast(small="Paris", large="Rome"), f"{SHADOW}\n{text}", small=models, large="features: []}"
    )
    await stage.ask(**body)
    await stage.outcomes(1)
    assert (stage.drops, stage.bodies("large")) == ([("shadow", reason)], [])


async def test_what_the_strong_model_answered_itself_is_not_compared(open_stage: OpenStage) -> None:
    stage = await open_stage(Cast(small=failing(500), large="Rome"), f"{SHADOW}\ndefault: {{models: [small, large]}}")
    assert await stage.ask() == "Rome"
    await stage.outcomes(1)
    assert stage.drops == [("shadow", "same model")]
    assert not await drawn(stage, model="large")


# --- what answers do not feel -----------------------------------------------------------------------------------------


async def test_trials_that_fail_do_not_open_the_breaker_of_answers(open_stage: OpenStage) -> None:
    stage = await open_stage(Cast(small="Paris", large=failing(500, retry_after="60")), SHADOW)
    for count in range(1, 31):
        await stage.ask()
        await stage.outcomes(count)
    assert {trial.detail.get("failed") for trial in stage.trials} == {"unanswered"}
    assert len(stage.bodies("large")) < 30, "the breaker of trials has opened"
    stage.cast.says["large-1"] = "Rome"
    assert stage.deployments.broken() == {}
    assert await stage.ask(model="large") == "Rome"


async def test_a_provider_that_refuses_a_trial_for_now_is_still_asked_for_answers(open_stage: OpenStage) -> None:
    refused = failing(429, retry_after="30", x_ratelimit_limit_requests="10", x_ratelimit_remaining_requests="0")
    stage = await open_stage(Cast(small="Paris", large=refused), SHADOW)
    await stage.ask()
    await stage.outcomes(1)
    stage.cast.says["large-1"] = "Rome"
    assert await stage.ask(model="large") == "Rome"


async def test_a_model_whose_breaker_is_open_gets_no_trials(open_stage: OpenStage) -> None:
    stage = await open_stage(Cast(small="Paris", large="Rome"), SHADOW)
    large = stage.in_service.config().models["large"]
    for _ in range(large.breaker.failures):
        stage.deployments.of(large).begin(1).end("fault")
    await stage.ask()
    await stage.outcomes(1)
    assert (stage.drops, stage.bodies("large")) == ([("shadow", "breaker open")], [])


@pytest.mark.parametrize("where", ["model", "provider"])
async def test_half_of_a_limit_is_left_to_answers(open_stage: OpenStage, where: str) -> None:
    limits = "limits: {concurrency: 4}}"
    given = {"large": limits} if where == "model" else {"provider": limits}
    stage = await open_stage(Cast(small="Paris", large="Rome"), SHADOW, **given)
    large = stage.deployments.of(stage.in_service.config().models["large"])
    permits = [large.begin(1)]
    await stage.ask()
    await stage.outcomes(1)
    assert len(stage.trials) == 1
    permits.append(large.begin(1))
    await stage.ask()
    await stage.outcomes(2)
    assert stage.drops == [("shadow", "limits")]
    for permit in permits:
        permit.end("neither")


async def test_a_rate_limit_that_is_half_used_stops_trials(open_stage: OpenStage) -> None:
    stage = await open_stage(Cast(small="Paris", large="Rome"), SHADOW, large="limits: {rpm: 10}}")
    for _ in range(6):
        await stage.ask(model="large")
    await stage.ask()
    await stage.outcomes(1)
    assert stage.drops == [("shadow", "limits")]


async def test_a_trial_makes_room_for_answers(open_stage: OpenStage) -> None:
    cast = Cast(small="Paris")
    cast.says["large-1"] = cast.wait
    stage = await open_stage(cast, SHADOW, large="limits: {concurrency: 1}}")
    await stage.ask()
    await asyncio.to_thread(cast.asked.acquire)
    cast.says["large-1"] = "Rome"
    permit = stage.deployments.of(stage.in_service.config().models["large"]).begin(1)
    await stage.outcomes(1)
    permit.end("neither")
    [trial] = stage.trials
    assert (trial.error, trial.detail["failed"]) == ("it was not finished: made room", "not finished")
    assert trial.attempts[0].status == "cancelled" and trial.cost_usd > 0


async def test_a_service_that_stops_cancels_its_trials_and_keeps_what_they_cost(open_stage: OpenStage) -> None:
    cast = Cast(small="Paris")
    cast.says["large-1"] = cast.wait
    stage = await open_stage(cast, SHADOW)
    await stage.ask()
    await asyncio.to_thread(cast.asked.acquire)
    stage.stop()
    await stage.outcomes(1)
    [trial] = stage.trials
    assert (trial.detail["failed"], trial.attempts[0].status) == ("cancelled", "cancelled")
    assert await stage.budget.spent_usd("shadow") == trial.cost_usd > 0


# --- a candidate folder -----------------------------------------------------------------------------------------------

FOLDER = "shadow: {to: {routes: ../next}, share: 1}"


def write_next(stage: Stage, default: str) -> None:
    folder = Path(stage.in_service.config().folder).parent / "next"
    folder.mkdir(exist_ok=True)
    (folder / "routes.yaml").write_text(routes_yaml(stage.server.url, f"default: {{models: [{default}]}}"))


async def test_a_candidate_folder_decides_and_its_model_is_asked_where_it_differs(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate_folder, "LOOK_EVERY_S", 0.0)
    stage = await open_stage(Cast(small="Paris", large="Rome"), FOLDER)
    write_next(stage, "small")
    await stage.ask()
    await stage.outcomes(1)
    write_next(stage, "large")
    await stage.ask()
    await stage.outcomes(2)
    same, other = stage.trials
    assert (same.model, same.detail["model_changed"], same.attempts, same.error) == ("small", False, (), None)
    assert (other.model, other.detail["model_changed"], len(other.attempts)) == ("large", True, 1)
    assert other.detail["same_text"] is False and other.detail["route_changed"] is False
    assert len(stage.bodies("large")) == 1


async def test_a_candidate_folder_that_cannot_be_used_is_told(
    open_stage: OpenStage, caplog: pytest.LogCaptureFixture
) -> None:
    stage = await open_stage(Cast(small="Paris", large="Rome"), FOLDER)
    for count in (1, 2):
        assert await stage.ask() == "Paris"
        await stage.outcomes(count)
    assert stage.drops == [("shadow", "candidate folder")] * 2
    [told] = [record.getMessage() for record in caplog.records if "shadow decides nothing" in record.getMessage()]
    assert "no such folder" in told


async def test_a_candidate_folder_without_the_model_that_was_asked_for_is_told(open_stage: OpenStage) -> None:
    stage = await open_stage(Cast(small="Paris", large="Rome"), FOLDER)
    write_next(stage, "small")
    folder = Path(stage.in_service.config().folder).parent / "next"
    text = (folder / "routes.yaml").read_text()
    (folder / "routes.yaml").write_text(text.replace("  large:", "  larger:"))
    await stage.ask(model="large")
    await stage.outcomes(1)
    [trial] = stage.trials
    assert str(trial.error).startswith("the candidate folder cannot decide it: model 'large' does not exist")
