from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.config.json_schemas import SchemaFaultError
from semroute.config.schema.matching import Classifier
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Callback, Cascade, Checks, Judge, Policy
from semroute.config.schema.resilience import Timeouts
from semroute.config.schema.routes import JsonContract
from semroute.errors import (
    ChecksFailedError,
    ContextLengthError,
    NoModelError,
    PlanExhaustedError,
    ProviderAuthError,
    ProviderModelError,
    ProviderRequestError,
    ProviderTimeoutError,
)
from semroute.execution import cascade
from semroute.execution.answer_quality import code_error, failures
from semroute.execution.check_processes import AnswerChecker
from semroute.execution.classifier import NO_ROUTE, RouteClassifier
from semroute.execution.code_fences import unfenced
from semroute.execution.deployments import Deployments
from semroute.execution.executor import one_model_caller
from semroute.execution.grading import Grader
from semroute.execution.judge_health import STEADY, JudgeHealth, UngradedError
from semroute.execution.model_call import Work
from semroute.execution.output_contract import Contract, ask_for_contract
from semroute.messages import (
    ChatRequest,
    Chunk,
    Completion,
    FinishReason,
    JsonSchema,
    Params,
    TokenLogprob,
    ToolCall,
    Usage,
)
from semroute.messages import Text as TextPart
from semroute.providers.transport import Transport
from semroute.record import Attempt, Record
from tests.execution.rig import PATIENT, rig
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT
from tests.routing.build import ALL, DEFAULT_POLICY, LARGE, MIDDLE, SMALL, config, request, route

MODELS = {one.id: one for one in ALL}
BAD, GOOD = "nope", "a good answer"
EXAMINER = AnswerChecker()
DEEP = f'{{"more": {"[" * 25_000}{"]" * 25_000}}}'


def answer(text: str, finish_reason: FinishReason = "stop", **fields: Any) -> Completion:
    usage = Usage(input_tokens=1000, output_tokens=1000)
    return Completion(parts=(TextPart(text=text),), finish_reason=finish_reason, usage=usage, model="m", **fields)


class Scripted:
    """A provider that gives the answers it was handed, in order; an error is raised."""

    def __init__(self, *answers: str | Completion | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
        self.requests.append(request)
        said = self.answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return answer(said) if isinstance(said, str) else said

    async def stream(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Any:
        yield Chunk()

    async def aclose(self) -> None:
        pass


class Run:
    """A cascade over the three models, each with its script."""

    def __init__(self, *, clock: Callable[[], float] = lambda: 0.0, **scripts: Any) -> None:
        self.providers = {
            name: Scripted(*said) if isinstance(said, tuple) else Scripted(said) for name, said in scripts.items()
        }
        self.attempts: list[Attempt] = []
        self.clock = clock
        self.deployments = Deployments()
        self.judges = JudgeHealth()
        self.models: Sequence[Model] = ALL
        self.asked = request(stream=True)

    def breaks(self, model: Model) -> None:
        """Its circuit breaker is open."""
        for _ in range(model.breaker.failures):
            self.deployments.of(model).begin(1).end("fault")

    async def __call__(
        self, checks: Checks, transport: Transport | None = None, policy: Policy = DEFAULT_POLICY, **fields: Any
    ) -> Completion:
        plan = tuple(one for one in self.models if one.id in self.providers)
        work = Work(
            request=self.asked, plan=plan, providers=self.providers, deployments=self.deployments, policy=policy
        )
        call = one_model_caller(work)
        grader = Grader(call, MODELS, transport, EXAMINER, self.judges)
        return await cascade.first_passing(
            Cascade(checks=checks, **fields), work, call, grader, self.attempts, self.clock
        )


LONG = Checks(min_chars=6)


async def test_an_answer_that_passes_ends_it() -> None:
    run = Run(small=GOOD, middle=BAD)
    assert (await run(LONG)).text == GOOD
    assert [(one.model, one.escalated) for one in run.attempts] == [("small", None)]
    assert not run.providers["small"].requests[0].stream  # held back until it passed


async def test_an_answer_that_fails_escalates_and_the_reason_is_in_the_account() -> None:
    run = Run(small=BAD, middle=GOOD)
    assert (await run(LONG)).text == GOOD
    assert [one.escalated for one in run.attempts] == ["it has 4 characters, expected at least 6", None]


async def test_a_model_that_fails_is_passed_over_and_does_not_count() -> None:
    run = Run(small=ProviderAuthError("500"), middle=BAD, large=GOOD)
    assert (await run(LONG, max_escalations=1)).text == GOOD
    assert [one.status for one in run.attempts] == ["failed", "ok", "ok"]


async def test_when_no_model_answers_the_plan_is_exhausted() -> None:
    with pytest.raises(PlanExhaustedError):
        await Run(small=ProviderAuthError("500"), large=ProviderAuthError("500"))(LONG)


async def test_a_refused_request_is_refused_at_once() -> None:
    run = Run(small=ProviderRequestError("400"), middle=GOOD)
    with pytest.raises(ProviderRequestError):
        await run(LONG)
    assert len(run.attempts) == 1


async def test_what_one_provider_refuses_is_put_to_another() -> None:
    run = Run(small=ProviderRequestError("400"), middle=GOOD, large=GOOD)
    run.models = [SMALL, MIDDLE, replace(LARGE, provider="other")]
    assert (await run(LONG)).text == GOOD
    assert [one.model for one in run.attempts] == ["small", "large"]


async def test_where_all_refuse_the_first_is_told() -> None:
    run = Run(small=ProviderRequestError("first"), large=ProviderRequestError("second"))
    run.models = [SMALL, replace(LARGE, provider="other")]
    with pytest.raises(ProviderRequestError, match="first"):
        await run(LONG)
    assert len(run.attempts) == 2


async def test_a_model_that_is_unknown_does_not_hide_one_that_is_down() -> None:
    run = Run(small=ProviderTimeoutError("silent"), large=ProviderModelError("404"))
    with pytest.raises(PlanExhaustedError, match="silent"):
        await run(LONG)
    run = Run(small=GOOD, large=ProviderModelError("404"))
    run.breaks(SMALL)
    with pytest.raises(NoModelError, match="circuit breaker"):
        await run(LONG)


async def test_a_refusal_after_an_answer_leaves_that_answer() -> None:
    run = Run(small=BAD, middle=ProviderRequestError("400"), large=GOOD)
    assert (await run(LONG)).text == BAD
    assert [one.served_anyway for one in run.attempts] == [True, False]
    with pytest.raises(ChecksFailedError, match="small: it has 4 characters"):
        await Run(small=BAD, middle=ProviderRequestError("400"))(LONG, on_exhausted="error")


async def test_a_model_whose_breaker_is_open_is_passed_over() -> None:
    run = Run(small=BAD, middle=BAD, large=GOOD)
    run.breaks(MIDDLE)
    assert (await run(LONG)).text == GOOD
    for one in (SMALL, LARGE):
        run.breaks(one)
    with pytest.raises(NoModelError, match="its circuit breaker is open"):
        await run(LONG)


async def test_a_request_that_is_too_long_goes_to_a_larger_window_only() -> None:
    windows = zip(ALL, (1000, 500, 2000), strict=True)
    run = Run(small=ContextLengthError("too long"), middle=GOOD, large=GOOD)
    run.models = [replace(one, context_tokens=tokens) for one, tokens in windows]
    assert (await run(LONG)).text == GOOD
    assert [one.model for one in run.attempts] == ["small", "large"]


async def test_one_deadline_covers_all_its_calls(provider: FaultServer) -> None:
    """The models' and the judge's; an answer that came in time is not lost to those that did not."""
    async with rig(provider) as execution:
        quick = Policy(timeouts=PATIENT, deadline_s=0.5)
        work = execution.work(["ok", "hang", "hang@2"], quick)
        call = one_model_caller(
            replace(work, providers=dict.fromkeys(("ok", "hang", "hang@2", "hang@3"), work.providers["ok"]))
        )
        grader = Grader(call, {"hang@3": execution.model("hang@3")}, None, EXAMINER)
        checks = Checks(judge=Judge(model="hang@3", rubric="good"))
        attempts: list[Attempt] = []
        assert (await cascade.first_passing(Cascade(checks=checks), work, call, grader, attempts)).text == TEXT
        assert [one.model for one in attempts] == ["ok", "hang@3"]


async def test_it_is_bounded_by_count() -> None:
    run = Run(small=BAD, middle=BAD, large=GOOD)
    assert (await run(LONG, max_escalations=1)).text == BAD
    assert run.attempts[1].escalated == "it has 4 characters, expected at least 6 (at most 1 escalations are allowed)"


async def test_it_is_bounded_by_cost() -> None:
    run = Run(small=BAD, middle=GOOD)
    assert (await run(LONG, max_cost_usd=Decimal("0.0001"))).text == BAD
    assert "USD are spent" in str(run.attempts[0].escalated)


async def test_it_is_bounded_by_a_deadline() -> None:
    ticks = iter([0.0, 1.0, 99.0])
    run = Run(small=BAD, middle=GOOD, clock=lambda: next(ticks))
    assert (await run(LONG, deadline_s=1.0)).text == BAD


async def test_on_exhausted_the_best_attempt_is_given_and_marked() -> None:
    run = Run(small="short but ok", middle=BAD, large=BAD)
    checks = Checks(min_chars=50, contains=("ok",))
    assert (await run(checks)).text == "short but ok"
    assert [one.served_anyway for one in run.attempts] == [True, False, False]
    record = Record(request_id="r", decision=None, attempts=tuple(run.attempts), outcome="ok", overhead_ms=0)  # type: ignore[arg-type]  # not looked at
    assert record.model == "small"


async def test_of_equally_bad_answers_the_strongest_models_is_given() -> None:
    run = Run(small="aaaa", large="bbbb")
    assert (await run(LONG)).text == "bbbb"


async def test_on_exhausted_error_says_what_failed() -> None:
    with pytest.raises(ChecksFailedError, match="small: it has 4 characters"):
        await Run(small=BAD, large=BAD)(LONG, on_exhausted="error")


async def test_a_schema_that_cannot_be_used_counts_against_no_model() -> None:
    """A route file with one is refused. What is checked all the same is held to the other checks alone."""
    broken = Checks(json_schema={"type": "text"}, min_chars=4)
    run = Run(small="[]", middle="[1, 2]", large=GOOD)
    assert (await run(broken)).text == "[1, 2]"
    assert [one.escalated for one in run.attempts] == ["it has 2 characters, expected at least 4", None]
    assert all("`json_schema` cannot be used: $.type" in str(one.ungraded) for one in run.attempts)
    contract = Contract(JsonContract(json_schema={"type": "text"}), EXAMINER)
    with pytest.raises(SchemaFaultError, match=r"^the route's `output\.json_schema` cannot be used: "):
        await contract.kept(request(), request(), answer("{}"))


# --- checks that take a call ------------------------------------------------------------------------------------------


def judged(threshold: float = 0.7) -> Checks:
    return Checks(judge=Judge(model="large", rubric="It is kind.", threshold=threshold))


async def test_a_judge_grades_and_is_in_the_account_but_does_not_serve() -> None:
    run = Run(small=GOOD, large=('{"score": 0.9}',))
    assert (await run(judged())).text == GOOD
    assert [(one.model, one.purpose) for one in run.attempts] == [("small", "answer"), ("large", "judge")]
    asked = run.providers["large"].requests[0]
    assert "It is kind." in asked.messages[0].text
    assert GOOD in asked.messages[1].text


async def test_a_low_grade_escalates() -> None:
    run = Run(small=GOOD, middle="better", large=('{"score": 0.2, "reason": "rude"}', '```json\n{"score": 1}\n```'))
    assert (await run(judged())).text == "better"
    assert run.attempts[0].escalated == "judge large gives 0.2, expected at least 0.7 (rude)"


@pytest.mark.parametrize("said", ["great answer!", DEEP, ProviderAuthError("500")])
async def test_a_judge_that_gives_no_grade_escalates_where_that_is_said(said: Any) -> None:
    run = Run(small=GOOD, large=(said, GOOD, said))
    await run(judged(), on_judge_error="escalate")
    assert run.attempts[0].escalated is not None
    assert run.attempts[0].escalated == run.attempts[0].ungraded


@pytest.mark.parametrize("said", ["great answer!", DEEP, ProviderAuthError("500")])
async def test_without_a_grade_an_answer_is_accepted_where_nothing_is_said_of_quality(said: Any) -> None:
    run = Run(small=GOOD, middle="better", large=said)
    assert (await run(judged())).text == GOOD
    assert [(one.model, one.purpose) for one in run.attempts] == [("small", "answer"), ("large", "judge")]
    assert (run.attempts[0].escalated, run.attempts[0].ungraded is None) == (None, False)


@pytest.mark.parametrize("policy", [Policy(min_quality=0.8), Policy(select="best")])
async def test_a_policy_that_wants_quality_takes_no_answer_without_a_grade(policy: Policy) -> None:
    run = Run(small=GOOD, middle="better", large=(ProviderAuthError("500"), '{"score": 1}'))
    assert (await run(judged(), policy=policy)).text == "better"
    run = Run(small=GOOD, middle="better", large=ProviderAuthError("500"))
    assert (await run(judged(), policy=policy, on_judge_error="accept")).text == GOOD


async def test_what_is_asked_after_a_judge_that_is_down_is_still_asked(verdicts: Any) -> None:
    url, replies, _ = verdicts
    replies.append((200, b'{"pass": false, "reason": "wrong tone"}'))
    transport = Transport()
    run = Run(small=GOOD, large=(ProviderAuthError("500"), "best"))
    checks = replace(judged(), callback=Callback(url=url))
    await run(checks, transport, max_escalations=0)
    await transport.aclose()
    assert str(run.attempts[0].escalated).startswith("the callback refuses it: wrong tone")


async def test_a_judge_that_is_down_is_told_once_and_again_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "semroute.checks")
    judges = JudgeHealth()

    async def asked(said: Any) -> None:
        run = Run(small=GOOD, large=said)
        run.judges = judges
        await run(judged())

    for said in ("no grade", ProviderAuthError("500"), '{"score": 1}', "no grade"):
        await asked(said)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].getMessage().startswith("large gave no grade: got text that is not JSON")
    for _ in range(STEADY):
        await asked('{"score": 0.9}')
    assert [record.getMessage() for record in caplog.records[1:]] == ["large grades again"]
    judges.failed(UngradedError("large", "large could not grade it"))
    assert len(caplog.records) == 3


async def test_a_judge_whose_breaker_is_open_cannot_grade() -> None:
    run = Run(small=GOOD, large='{"score": 1}')
    run.breaks(LARGE)
    assert (await run(judged(), on_judge_error="escalate")).text == GOOD
    assert str(run.attempts[0].escalated).startswith("large could not grade it: no model")


async def test_a_model_rates_its_own_certainty() -> None:
    run = Run(small=(GOOD, '{"score": 0.3}'), middle=("better", '{"score": 0.9}'))
    assert (await run(Checks(min_certainty=0.5))).text == "better"
    assert str(run.attempts[0].escalated).startswith("rates its own certainty 0.3")
    answers = [attempt for attempt in run.attempts if attempt.purpose == "answer"]
    assert [attempt.grades for attempt in answers] == [{"certainty": 0.3}, {"certainty": 0.9}]


@pytest.fixture
def verdicts() -> Iterator[tuple[str, list[Any], list[Any]]]:
    """A callback's address, what it will answer, and what it was sent."""
    replies: list[Any] = []
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            status, body = replies.pop(0)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", replies, received
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((200, b'{"pass": true}'), None),
        ((200, b'{"pass": false, "reason": "wrong tone"}'), "the callback refuses it: wrong tone"),
        ((500, b"{}"), "the callback answered with status 500"),
        ((200, b"yes"), "the callback gave no verdict"),
    ],
)
async def test_a_callback_judges(verdicts: Any, reply: Any, reason: str | None) -> None:
    url, replies, received = verdicts
    replies.append(reply)
    transport = Transport()
    run = Run(small=GOOD)
    await run(Checks(callback=Callback(url=url)), transport, on_judge_error="escalate")
    await transport.aclose()
    assert received == [{"prompt": "hello there", "answer": GOOD, "model": "small"}]
    assert str(run.attempts[0].escalated or "").startswith(reason or "")
    assert (run.attempts[0].escalated is None) == (reason is None)


async def test_a_callback_that_cannot_be_reached_fails() -> None:
    transport = Transport()
    run = Run(small=GOOD)
    await run(Checks(callback=Callback(url="http://127.0.0.1:9/")), transport, on_judge_error="escalate")
    await transport.aclose()
    assert "the callback failed" in str(run.attempts[0].escalated)


# --- checks of the text -----------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "required": ["name"], "properties": {"age": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("checks", "good", "bad"),
    [
        (Checks(), "x", "  "),
        (Checks(min_chars=3), "abc", "ab"),
        (Checks(no_refusal=True), "I can help with that.", "I'm sorry, but I can't help with that."),
        (Checks(no_refusal=True), "Sorry for the delay; here it is.", "I cannot assist with this request."),
        (Checks(no_refusal=True), "Unable to log in? Reset it.", "As an AI language model, I am unable to do that."),
        (Checks(no_hedging=True), "It is 4.", "I\u2019m not sure, perhaps 4."),
        (Checks(no_hedging=True), "Nobody knows better.", "I don't know."),
        (Checks(json=True), '```json\n{"a": 1}\n```', "{a: 1}"),
        (Checks(json_schema=SCHEMA), '{"name": "x", "age": 1}', '{"name": "x", "age": "1"}'),
        (Checks(regex="^[0-9]+$"), "123", "12a"),
        (Checks(regex="^[0-9]+$"), " 123\n\n", "1\n2"),
        (Checks(contains=("Total",)), "the total is 4", "it is 4"),
        (Checks(forbids=("competitor",)), "ours", "Our COMPETITOR"),
        (Checks(code_parses=True), "```python\nprint(1)\n```", "```python\nprint(1\n```"),
        (Checks(code_parses=True), "```js\nf({a: ')'}) // (\n```", "```js\nf({a: 1})}\n```"),
        (Checks(code_parses=True), "no code", "```go\nfunc f() {\n```"),
        (Checks(code_parses=True), "```text\n(((\n```", "```python\nx = 1\n"),
    ],
)
def test_a_check_of_the_text(checks: Checks, good: str, bad: str) -> None:
    assert failures(checks, answer(good)) == []
    assert len(failures(checks, answer(bad))) == 1


def test_how_it_ended_and_how_likely_it_was() -> None:
    ended = Checks(finish_reasons=("stop",))
    assert failures(ended, answer("x")) == []
    assert failures(ended, answer("x", "length")) == ["it ended with length, expected stop"]
    assert failures(Checks(no_refusal=True), answer("x", "content_filter")) == ["it declines"]
    likely = Checks(min_logprob=-1)
    assert failures(likely, answer("x")) == ["the provider gave no log-probabilities"]
    tokens = [TokenLogprob(token="x", logprob=value) for value in (-0.5, -3.0)]
    assert failures(likely, answer("x", logprobs=(tokens[0],))) == []
    assert failures(likely, answer("x", logprobs=tuple(tokens))) == [
        "its mean log-probability is -1.75, expected at least -1"
    ]


CALL = ToolCall(id="1", name="weather", arguments='{"city": "Rome"}')


def test_what_is_asked_of_a_text_is_not_asked_of_a_call_alone() -> None:
    called = Completion(parts=(CALL,), finish_reason="tool_calls", usage=None, model="m")
    assert failures(Checks(min_chars=6, json=True, contains=("sure",), regex="sure"), called) == []
    assert failures(Checks(finish_reasons=("stop",)), called) == ["it ended with tool_calls, expected stop"]
    said = replace(called, parts=(TextPart(text="nope"), CALL))
    assert failures(LONG, said) == ["it has 4 characters, expected at least 6"]


async def test_a_judge_is_shown_the_call() -> None:
    called = Completion(parts=(CALL,), finish_reason="tool_calls", usage=Usage(), model="m")
    run = Run(small=called, large='{"score": 0.9}')
    assert (await run(judged())).parts == (CALL,)
    assert 'weather {"city": "Rome"}' in run.providers["large"].requests[0].messages[1].text


def test_what_stands_in_a_fence() -> None:
    assert unfenced("```\nx\n```") == "x\n"
    assert unfenced("see ```x```") == "see ```x```"
    assert code_error("```python\n    x = 1\n```") is None


# --- output contracts -------------------------------------------------------------------------------------------------


def openai(**fields: Any) -> ChatRequest:
    return request(dialect="openai", raw={"messages": [{"role": "user", "content": "hello there"}]}, **fields)


def test_a_contract_is_a_parameter_where_the_model_knows_json() -> None:
    asked = ask_for_contract(openai(), LARGE, JsonContract(json_schema=SCHEMA))
    assert asked.raw["response_format"]["json_schema"]["schema"] == SCHEMA
    assert asked.params.json_schema is not None
    assert asked.params.json_schema.document == SCHEMA
    assert ask_for_contract(openai(), LARGE, JsonContract()).raw["response_format"] == {"type": "json_object"}
    assert ask_for_contract(request(), LARGE, JsonContract()).params.json_output


def test_a_contract_is_told_in_words_where_it_does_not() -> None:
    plain = Model(id="m", provider="p", name="m", features=())
    asked = ask_for_contract(openai(), plain, JsonContract(json_schema=SCHEMA))
    assert "response_format" not in asked.raw
    assert '"required":["name"]' in asked.raw["messages"][0]["content"]
    assert ask_for_contract(request(), plain, JsonContract()).messages[0].role == "system"


def test_the_callers_own_schema_stands_and_mere_json_gets_the_routes() -> None:
    own = openai(params=Params(json_output=True, json_schema=JsonSchema(document={"type": "object"})))
    assert ask_for_contract(own, LARGE, JsonContract(json_schema=SCHEMA)) is own
    mere = openai(params=Params(json_output=True))
    assert ask_for_contract(mere, LARGE, JsonContract()) is mere
    assert (
        ask_for_contract(mere, LARGE, JsonContract(json_schema=SCHEMA)).raw["response_format"]["type"] == "json_schema"
    )


# --- a classifier -----------------------------------------------------------------------------------------------------


class Classified:
    """A classifier over two routes, with its model's script."""

    def __init__(self, *answers: str | Exception, **settings: Any) -> None:
        routes = config(*ALL, routes=(route(), route("coding", description="Programs."))).routes
        self.provider = Scripted(*answers)
        self.classifier = RouteClassifier(Classifier(model="small", **settings), routes)
        self.attempts: list[Attempt] = []
        self.deployments = Deployments()

    async def __call__(self, text: str = "hello") -> str | None:
        work = Work(request=request(), plan=(), providers={"small": self.provider}, deployments=self.deployments)
        call = one_model_caller(work)
        return await self.classifier.label(text, "r", SMALL, call, self.attempts)


async def test_a_label_names_a_route_and_is_remembered() -> None:
    classified = Classified('{"label": "coding"}')
    assert [await classified(), await classified()] == ["coding", "coding"]
    assert len(classified.provider.requests) == 1
    assert "coding: Programs." in classified.provider.requests[0].messages[0].text
    assert [one.purpose for one in classified.attempts] == ["classifier"]


async def test_the_cache_is_bounded() -> None:
    classified = Classified(*['{"label": "coding"}'] * 3, cache_size=1)
    for text in ("a", "b", "a"):
        await classified(text)
    assert len(classified.provider.requests) == 3


@pytest.mark.parametrize(
    "said",
    [
        "coding",
        "Coding.",
        "  **coding**\n",
        '"coding"',
        "- CODING",
        "label: coding",
        "**Route:** `coding`",
        "The label is coding.",
        "coding\n\nThe user asks about a program.",
        '{"label": "Coding"}',
        '{"route": "coding", "confidence": 0.9}',
        '{"Label": ["coding"]}',
        '{"result": {"label": "coding"}}',
        "{'label': 'coding'}",
        '```json\n{"label": "coding"}\n```',
        '```{"label": "coding"}```',
        "```\ncoding\n```",
        'Here it is:\n```json\n{"label": "coding"}\n```\nIt is about programs.',
        '{"label": "coding"}\n\nReason: it is about programs.',
        '<think>\nbilling? No: a program.\n</think>\n\n{"label": "coding"}',
    ],
)
async def test_a_label_is_read_in_the_forms_that_small_models_answer(said: str) -> None:
    assert await Classified(said)() == "coding"


@pytest.mark.parametrize(
    "said", ['{"label": "none"}', "none", "None.", '{"label": null}', '{"label": ""}', "label: none of the above"]
)
async def test_none_says_that_no_route_fits(said: str) -> None:
    classified = Classified(said)
    assert [await classified(), await classified()] == [NO_ROUTE, NO_ROUTE]
    assert len(classified.provider.requests) == 1


@pytest.mark.parametrize(
    "said",
    [
        '{"label": "no-such-route"}',
        "I would say coding.",
        "It is not coding.",
        "coding or billing",
        '{"reason": "coding"}',
        '{"label": 3}',
        "[" * 60_000,
        "[" * 900 + "3" + "]" * 900,
        "",
        "<think>coding",
        ProviderAuthError("500"),
    ],
)
async def test_without_a_known_label_the_semantic_decision_stands(said: Any) -> None:
    assert await Classified(said)() is None


async def test_without_a_model_that_can_be_called_the_semantic_decision_stands() -> None:
    classified = Classified('{"label": "coding"}')
    for _ in range(SMALL.breaker.failures):
        classified.deployments.of(SMALL).begin(1).end("fault")
    assert await classified() is None
    assert classified.provider.requests == []


async def test_too_late_is_no_label() -> None:
    class Never(Scripted):
        async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
            raise TimeoutError

    classified = Classified()
    classified.provider = Never()
    assert await classified() is None


async def test_names_that_differ_in_their_separators_alone_must_be_exact() -> None:
    routes = config(*ALL, routes=(route("a-b"), route("a_b"))).routes
    read = RouteClassifier(Classifier(model="small"), routes).read
    assert [read("a-b"), read("a_b"), read("A B")] == ["a-b", "a_b", None]


def test_it_is_asked_for_every_prompt_or_where_certain_routes_are_likely() -> None:
    assert Classified().classifier.wanted(None)
    only = Classified(routes=("billing",)).classifier
    assert (only.wanted("billing"), only.wanted("coding"), only.wanted(None)) == (True, False, False)


LIKELY = (TokenLogprob(token="a good answer", logprob=-0.25),)


async def test_log_probabilities_of_a_check_are_kept_from_callers_who_did_not_ask() -> None:
    run = Run(small=answer(GOOD, logprobs=LIKELY, dropped=("seed", "logprobs")))
    assert (await run(Checks(min_logprob=-1))).logprobs == ()
    assert run.providers["small"].requests[0].params.logprobs
    assert run.attempts[0].grades == {"logprob": -0.25}
    run = Run(small=answer(BAD, logprobs=LIKELY))
    assert (await run(Checks(min_logprob=-0.1))).logprobs == ()
    run.asked = request(stream=True, params=Params(logprobs=True))
    run.providers["small"].answers = [answer(GOOD, logprobs=LIKELY)]
    assert (await run(Checks(min_logprob=-1))).logprobs == LIKELY
