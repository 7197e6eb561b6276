from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.access.meters import Meter
from semroute.access.reservations import GRADE_TOKENS, CostBasis, most, took
from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Cascade, Checks, Judge, Policy
from semroute.config.schema.resilience import StreamPolicy
from semroute.config.schema.routes import Default
from semroute.decision import Decision, Estimate
from semroute.messages import EMBEDDINGS, ChatRequest, Message, Params, Text, Usage
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


def ask(policy: Policy, *, stream: bool = False, spent: tuple[Attempt, ...] = ()) -> CostBasis:
    message = Message(role="user", parts=(Text(text="Hi"),))
    params = Params(max_tokens=OUTPUT)
    request = ChatRequest(id="1", messages=(message,), params=params, stream=stream, dialect="openai")
    return CostBasis(request=request, policy=policy, spent=spent)


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


def reserved(policy: Policy, *models: str, meter: Meter = USD, **how: object) -> int:
    return most(meter, CONFIG, ask(policy, **how), decision(), *models)  # type: ignore[arg-type]  # a test's own words


@pytest.mark.parametrize("hedge_after_ms", ["auto", 100, None])
@pytest.mark.parametrize("stream", [False, True])
def test_each_call_counts_for_itself(hedge_after_ms: Any, stream: bool) -> None:
    policy = Policy(hedge_after_ms=hedge_after_ms, stream=StreamPolicy(hold=20))
    assert [reserved(policy, name, stream=stream) for name in ("small", "middle", "large")] == [ONE, 2 * ONE, 4 * ONE]
    assert reserved(policy, "small", "large", stream=stream) == 5 * ONE
    assert reserved(policy) == 0


def test_escalations_do_not_count_before_they_are_made() -> None:
    assert reserved(Policy(cascade=Cascade(max_escalations=2)), "small") == ONE


def test_the_grading_of_an_answer_counts_with_it() -> None:
    judge = Checks(judge=Judge(model="small", rubric="good"))
    graded = (INPUT + OUTPUT + 2 * GRADE_TOKENS) * 10**6
    assert reserved(Policy(cascade=Cascade(checks=judge)), "large") == 4 * ONE + graded
    itself = Checks(min_certainty=0.5)
    assert reserved(Policy(cascade=Cascade(checks=itself)), "large") == 4 * ONE + 4 * graded
    of_small = replace(USD, models=frozenset({"small"}))
    assert reserved(Policy(cascade=Cascade(checks=judge)), "large", meter=of_small) == graded
    assert reserved(Policy(cascade=Cascade(checks=judge)), "small", meter=of_small) == ONE + graded


def test_what_was_spent_before_counts() -> None:
    spent = Attempt(model="small", status="ok", latency_ms=1, cost_usd=Decimal("0.5"), usage=Usage(input_tokens=7))
    assert reserved(Policy(), "large", spent=(spent,)) == 4 * ONE + 5 * 10**11
    tokens = Meter(counter="tpm", kind="tokens", limit=1, name="")
    assert reserved(Policy(), "large", meter=tokens, spent=(spent,)) == INPUT + OUTPUT + 7
    of_large = replace(USD, models=frozenset({"large"}))
    assert took(of_large, spent) == 0
    assert reserved(Policy(), "large", meter=replace(USD, kind="requests"), spent=(spent,)) == 1


def test_a_model_that_continues_an_answer_gets_its_text_as_input() -> None:
    broken = Attempt(model="x", status="failed", latency_ms=2, first_token_ms=1, usage=Usage(output_tokens=5))
    assert reserved(Policy(), "small", spent=(broken,)) == ONE + 5 * 10**6
    assert reserved(Policy(), "small", spent=(replace(broken, first_token_ms=None),)) == ONE


def test_no_model_gives_more_than_it_can() -> None:
    config = replace(CONFIG, models={"small": replace(CONFIG.models["small"], max_output_tokens=4)})
    assert most(USD, config, ask(Policy()), decision(), "small") == (INPUT + 4) * 10**6
    config = replace(CONFIG, models={"small": replace(CONFIG.models["small"], max_output_tokens=4000)})
    assert most(USD, config, ask(Policy()), decision(), "small") == ONE


@pytest.mark.parametrize(("n", "answers"), [(None, 1), (-3, 1), (1, 1), (5, 5)])
def test_each_of_several_answers_is_reserved(n: int | None, answers: int) -> None:
    asked = ask(Policy())
    asked = replace(asked, request=replace(asked.request, params=Params(max_tokens=OUTPUT, n=n)))
    dearest = 4 * (INPUT + answers * OUTPUT) * 10**6
    assert most(USD, CONFIG, asked, decision(), "large") == dearest


def test_an_embedding_has_no_output() -> None:
    asked = ask(Policy())
    asked = replace(asked, request=replace(asked.request, endpoint=EMBEDDINGS, params=Params()))
    config = replace(CONFIG, models={"small": replace(CONFIG.models["small"], max_output_tokens=4000)})
    assert most(USD, config, asked, decision(), "small") == INPUT * 10**6


def test_what_is_reserved_fits_a_counter_of_64_bits() -> None:
    asked = ask(Policy())
    asked = replace(asked, request=replace(asked.request, params=Params(max_tokens=10**9, n=10**30)))
    assert most(USD, CONFIG, asked, decision(), "large") < 2**63
