from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.access.meters import Meter
from semroute.access.reservations import GRADE_TOKENS, Ask, most, took
from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Cascade, Checks, Judge, Policy
from semroute.config.schema.resilience import StreamPolicy
from semroute.config.schema.routes import Default
from semroute.decision import Decision, Estimate
from semroute.messages import ChatRequest, Message, Params, Text, Usage
from semroute.record import Attempt

INPUT, OUTPUT = 100, 10


def model(name: str, price: int) -> Model:
    return Model(id=name, provider="p", name=name, input_price=Decimal(price), output_price=Decimal(price))


CONFIG = Config(
    providers={},
    models={each.id: each for each in (model("small", 1), model("middle", 2), model("large", 4))},
    routes={},
    default=Default(models=("small",)),
)
USD = Meter(counter="usd", kind="usd", limit=1, name="")
ONE = (INPUT + OUTPUT) * 10**6
"""10^-12 USD that the small model takes."""


def ask(policy: Policy, *, stream: bool = False, spent: tuple[Attempt, ...] = ()) -> Ask:
    message = Message(role="user", parts=(Text(text="Hi"),))
    params = Params(max_tokens=OUTPUT)
    request = ChatRequest(id="1", messages=(message,), params=params, stream=stream, dialect="openai")
    return Ask(request=request, policy=policy, spent=spent)


def decision() -> Decision:
    return Decision(
        id="1",
        route=None,
        reason="default",
        explanation="because",
        confidence=0.9,
        threshold=0.5,
        margin=0.4,
        model="small",
        plan=("small", "middle", "large"),
        rejected={},
        candidates=(),
        estimate=Estimate(input_tokens=INPUT, output_tokens=OUTPUT, cost_usd=Decimal(0)),
        config_version="v1",
    )


def reserved(policy: Policy, meter: Meter = USD, **how: object) -> int:
    return most(meter, CONFIG, ask(policy, **how), decision())  # type: ignore[arg-type]  # a test's own words


def test_one_model_answers_and_the_dearest_counts() -> None:
    assert reserved(Policy()) == reserved(Policy(), stream=True) == 4 * ONE


@pytest.mark.parametrize("stream", [StreamPolicy(), StreamPolicy(on_break="error", hold=20)])
@pytest.mark.parametrize("hedge_after_ms", ["auto", 100, None])
def test_what_may_come_on_top_is_not_reserved_beforehand(stream: StreamPolicy, hedge_after_ms: Any) -> None:
    assert reserved(Policy(stream=stream, hedge_after_ms=hedge_after_ms), stream=True) == 4 * ONE


def test_escalations_count_as_far_as_they_may_go() -> None:
    assert reserved(Policy(cascade=Cascade(max_escalations=0))) == 4 * ONE
    assert reserved(Policy(cascade=Cascade(max_escalations=1))) == 6 * ONE
    assert reserved(Policy(cascade=Cascade())) == 7 * ONE
    bounded = Cascade(max_cost_usd=Decimal(ONE).scaleb(-12))
    assert reserved(Policy(cascade=bounded)) == 5 * ONE


def test_judges_count() -> None:
    judge = Checks(judge=Judge(model="small", rubric="good"))
    graded = (INPUT + OUTPUT + 2 * GRADE_TOKENS) * 10**6
    assert reserved(Policy(cascade=Cascade(checks=judge, max_escalations=1))) == 6 * ONE + 2 * graded
    itself = Checks(min_certainty=0.5)
    assert reserved(Policy(cascade=Cascade(checks=itself, max_escalations=0))) == 4 * ONE + 4 * graded
    of_small = Meter(counter="usd", kind="usd", limit=1, name="", models=frozenset({"small"}))
    assert reserved(Policy(cascade=Cascade(checks=judge)), of_small) == ONE + 3 * graded


def test_what_deciding_took_counts() -> None:
    call = Attempt(model="small", status="ok", latency_ms=1, cost_usd=Decimal("0.5"), usage=Usage(input_tokens=7))
    assert reserved(Policy(), spent=(call,)) == 4 * ONE + 5 * 10**11
    tokens = Meter(counter="tpm", kind="tokens", limit=1, name="")
    assert reserved(Policy(), tokens, spent=(call,)) == INPUT + OUTPUT + 7
    of_large = Meter(counter="usd", kind="usd", limit=1, name="", models=frozenset({"large"}))
    assert took(of_large, call) == 0
    assert reserved(Policy(), Meter(counter="rpm", kind="requests", limit=1, name=""), spent=(call,)) == 1


@pytest.mark.parametrize(("n", "answers"), [(None, 1), (-3, 1), (1, 1), (5, 5)])
def test_each_of_several_answers_is_reserved(n: int | None, answers: int) -> None:
    asked = ask(Policy())
    asked = replace(asked, request=replace(asked.request, params=Params(max_tokens=OUTPUT, n=n)))
    dearest = 4 * (INPUT + answers * OUTPUT) * 10**6
    assert most(USD, CONFIG, asked, decision()) == dearest


def test_what_is_reserved_fits_a_counter_of_64_bits() -> None:
    asked = ask(Policy())
    asked = replace(asked, request=replace(asked.request, params=Params(max_tokens=10**9, n=10**30)))
    assert most(USD, CONFIG, asked, decision()) < 2**63
