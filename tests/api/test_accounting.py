"""From outside: what a request cost, who may call, how much they may spend, and what can be read of it afterwards."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from itsdangerous import TimestampSigner

from semroute.access.api_keys import KeyStore
from semroute.api.feedback import LINK_S, links
from semroute.caller import Caller
from semroute.stores.sqlite import SqliteDatabase
from tests.providers.fault_server import FaultServer
from tests.service import Service, until

WriteRoutes = Callable[[Path], Path]
Run = Callable[..., subprocess.CompletedProcess[str]]

BUDGETS = """
baseline: status-500
budgets:
  - {name: everything, usd: 1000, per: month}
  - {name: billing-route, usd: 0.00012, per: day, route: billing, soft: 0.5}
  - {name: tools-model, usd: 0, per: day, model: tools}
  - {name: twin-model, usd: 0.00006, per: day, model: twin}
models:
  twin: {provider: faults, name: ok, input_price: 1, output_price: 2, deployments: [{provider: faults, name: ok}]}
"""
PROVIDER_KEY = "sk-faults-0123456789"
# 8 tokens by the rule of four bytes, and 4 of the message: as many as the provider will report.
PROMPT = "I want my money back, right now!"
COST = Decimal("0.000024")


@pytest.fixture(scope="module")
def books(write_routes: WriteRoutes, tmp_path_factory: pytest.TempPathFactory, semroute: Run) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("books")
    routes = write_routes(folder / "routes")
    (routes / "budgets.yaml").write_text(BUDGETS)
    environ = {"FAULTS_KEY": PROVIDER_KEY, "SEMROUTE_FEEDBACK_SECRET": "feedback-secret", "SEMROUTE_LOG_FORMAT": "json"}
    with Service(
        routes, folder / "log", SEMROUTE_ADMIN_KEY="admin-key", SEMROUTE_API_KEY="api-key", **environ
    ) as running:
        running.client.headers["authorization"] = "Bearer admin-key"
        yield running


@pytest.fixture
def new_key(books: Service, semroute: Run) -> Callable[..., dict[str, str]]:
    """Make a key, and wait until the service knows it."""

    def make(*options: str) -> dict[str, str]:
        url = f"sqlite:///{books.database}"
        made: dict[str, str] = json.loads(
            semroute("keys", "create", "--json", *options, SEMROUTE_DATABASE_URL=url).stdout
        )
        headers = {"authorization": f"Bearer {made['key']}"}
        assert until(lambda: books.client.get("/v1/models", headers=headers).status_code == 200)
        return {**made, **headers}

    return make


def ask(service: Service, key: str | None = None, path: str = "/complete", **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return service.client.post(path, json={"prompt": PROMPT, "max_tokens": 6, "model": "ok", **body}, headers=headers)


def record_of(service: Service, response: httpx.Response) -> dict[str, Any]:
    """What the log holds of a request, once it is there."""
    url = f"/decisions/{response.headers['x-semroute-decision']}"
    assert until(lambda: service.client.get(url).status_code == 200)
    found: dict[str, Any] = service.client.get(url).json(parse_float=Decimal)
    return found


# --- cost -------------------------------------------------------------------------------------------------------------


def test_the_headers_the_body_and_the_log_tell_one_cost(books: Service) -> None:
    response = ask(books)
    body = response.json(parse_float=Decimal)
    assert Decimal(response.headers["x-semroute-cost-usd"]) == body["cost_usd"] == COST
    assert Decimal(response.headers["x-semroute-saved-usd"]) == body["saved_usd"] == 0
    record = record_of(books, response)
    assert (record["cost_usd"], record["outcome"], record["model"], record["tier"]) == (COST, "ok", "ok", "moderate")
    assert record["decision"]["reason"] == "pinned"


def test_a_stream_tells_its_cost_at_its_end(books: Service) -> None:
    for path in ("/complete", "/v1/chat/completions"):
        body = {"stream": True, "messages": [{"role": "user", "content": PROMPT}]}
        if path == "/complete":
            del body["messages"]
            body["prompt"] = PROMPT
        asked = {"x-semroute-cost-trailer": "1"}
        response = books.client.post(path, json={"model": "ok", **body}, headers=asked)
        assert ": x-semroute-cost-usd: 0.000024" in response.text
        assert record_of(books, response)["cost_usd"] == COST


def test_usage_that_is_missing_is_estimated_and_marked(books: Service) -> None:
    record = record_of(books, ask(books, model="tools", models=["tools"], stream=True, prompt="no budget"))
    assert record["outcome"] in ("failed", "refused")  # its budget is nothing
    record = record_of(books, ask(books, model="no-done", stream=True))
    assert not record["estimated"]
    cut = record_of(books, ask(books, model="cut-after-2", stream=True))
    assert (cut["outcome"], cut["estimated"]) == ("failed", True)
    assert cut["cost_usd"] > 0


def test_failed_calls_are_in_the_account(books: Service) -> None:
    record = record_of(books, ask(books, model="auto:coding"))
    statuses = [attempt["status"] for attempt in record["attempts"]]
    assert (set(statuses[:-1]), statuses[-1]) == ({"failed"}, "ok")
    assert (record["model"], record["cost_usd"], record["decision"]["plan"]) == ("ok", COST, ["status-500", "ok"])


def test_a_decision_alone_is_recorded_too(books: Service) -> None:
    record = record_of(books, ask(books, path="/route", model="auto"))
    assert (record["outcome"], record["attempts"], record["route"]) == ("decided", [], "billing")
    assert set(record["scores"]) == {"billing", "coding"}
    assert len(record["embedding_float16"]) == 1024  # 384 halves in base64


# --- reading ----------------------------------------------------------------------------------------------------------


def test_the_log_is_filtered_and_paged(books: Service) -> None:
    asked = [ask(books, metadata={"feature": "paging"}).headers["x-semroute-decision"] for _ in range(5)]
    url = "/decisions?feature=paging&limit=2&model=ok&min_cost_usd=0.000001&since=2026-01-01"
    assert until(lambda: len(books.client.get("/decisions?feature=paging").json()["decisions"]) == 5)
    seen, cursor = [], ""
    while True:
        page = books.client.get(url + (f"&cursor={cursor}" if cursor else "")).json()
        seen += [row["id"] for row in page["decisions"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == asked[::-1]
    ask(books, model="status-503")
    assert until(lambda: bool(books.client.get("/decisions?error=service unavailable").json()["decisions"]))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_that_its_offset_leads_out_of_the_calendar_is_taken(books: Service, moment: str) -> None:
    assert books.client.get(f"/stats?until={moment}").status_code == 200


@pytest.mark.parametrize(
    "query",
    "limit=0 limit=x since=yesterday since=nan until=inf until=1e12 colour=red cursor=%00 min_cost_usd=nan "
    "max_cost_usd=1e999999999".split(),
)
def test_a_bad_filter_is_named(books: Service, query: str) -> None:
    response = books.client.get(f"/decisions?{query}")
    if query.startswith(("since", "until")):
        assert books.client.get(f"/stats?{query}").json() == response.json()
    assert response.status_code == 400
    assert response.json()["error"]["param"] == query.partition("=")[0]


def test_what_is_not_there_is_404(books: Service) -> None:
    assert books.client.get("/decisions/nothing").json()["error"]["code"] == "not_found"


def test_statistics_by_each_dimension(books: Service) -> None:
    record_of(books, ask(books))
    record_of(books, ask(books, path="/route", model="auto"))  # it calls no model
    for by in ("model", "tier"):
        assert "" not in {row["value"] for row in books.client.get(f"/stats?by={by}").json()["rows"]}
    for by in ("all", "model", "tier", "route", "key", "team", "feature", "day"):
        rows = books.client.get(f"/stats?by={by}").json()["rows"]
        assert sum(row["requests"] for row in rows) > 0
        assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-4)
    assert books.client.get("/stats?by=colour").status_code == 400


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_may_do_what_its_scopes_say(
    books: Service, new_key: Callable[..., dict[str, str]], semroute: Run
) -> None:
    key = new_key("--scope", "route", "--name", "decider")
    token = key["key"]
    assert ask(books, token, "/route").status_code == 200
    assert ask(books, token).status_code == 403
    assert books.client.get("/stats", headers={"authorization": f"Bearer {token}"}).status_code == 403
    assert ask(books, token[:-1] + ("A" if token[-1] != "A" else "B"), "/route").status_code == 401
    url = f"sqlite:///{books.database}"
    rotated = json.loads(semroute("keys", "rotate", key["id"], "--json", SEMROUTE_DATABASE_URL=url).stdout)["key"]
    assert until(lambda: ask(books, token, "/route").status_code == 401)
    assert ask(books, rotated, "/route").status_code == 200
    assert semroute("keys", "revoke", key["id"], SEMROUTE_DATABASE_URL=url).returncode == 0
    assert until(lambda: ask(books, rotated, "/route").status_code == 401)
    listed = semroute("keys", "list", SEMROUTE_DATABASE_URL=url).stdout
    assert "decider" in listed
    assert "revoked" in listed
    assert token.encode() not in books.database.read_bytes()
    actions = [(row["action"], row["detail"]) for row in books.client.get("/admin/audit").json()["audit"]]
    assert ("keys rotate", key["id"]) in actions


def test_a_key_may_use_its_routes_and_models_only(books: Service, new_key: Callable[..., dict[str, str]]) -> None:
    token = new_key("--route", "coding", "--model", "ok")["key"]
    session = {"user": "somebody", "prompt": "why was I charged twice this month"}
    for path, body in (("/complete", {"model": "auto:billing"}), ("/complete", session), ("/route", session)):
        barred = ask(books, token, path, **{"model": "auto", **body})
        assert barred.status_code == 403
        assert f"the key {token[3:15]} may not use route 'billing', only coding" in barred.text
        record = record_of(books, barred)
        assert (record["outcome"], record["route"], record["attempts"]) == ("refused", "billing", [])
    # What it was refused is not what its conversation is about.
    later = ask(books, token, model="auto", user="somebody", prompt="why?")
    assert later.json()["decision"]["reason"] != "sticky", later.text
    decision = ask(books, token, model="auto:coding").json()["decision"]
    assert decision["plan"] == ["ok"]
    assert "may not use it" in decision["rejected"]["status-500"]
    for path, asked in (("/complete", {}), ("/complete", {"stream": True}), ("/v1/embeddings", {"input": "x"})):
        refused = ask(books, token, path, model="tools", models=["status-500"], **asked)
        assert refused.status_code == 403
        assert f"the key {token[3:15]} may not use tools, status-500, only ok" in refused.text
    assert record_of(books, refused)["outcome"] == "refused"


def test_rules_read_the_metadata_of_a_key(books: Service, new_key: Callable[..., dict[str, str]]) -> None:
    token = new_key("--metadata", "workload=batch")["key"]
    assert ask(books, token, model="auto", metadata={"workload": "other"}).json()["decision"]["rule"] == "batch"


def test_an_expired_key_is_refused(books: Service) -> None:
    database = SqliteDatabase(books.database)
    token, _ = KeyStore(database).create(Caller(), expires_at=time.time() - 1)
    database.close()
    assert until(lambda: "expired" in ask(books, token).text)


def test_a_key_has_a_rate(books: Service, new_key: Callable[..., dict[str, str]]) -> None:
    token = new_key("--rpm", "3")["key"]
    codes = [ask(books, token).status_code for _ in range(7)]
    assert codes.count(200) in (3, 6)  # the minute may have turned
    assert 429 in codes
    refused = ask(books, new_key("--tpm", "10")["key"])
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 80  # the rest of this minute, and a third of the next


def test_a_key_has_room_for_so_many_at_once(books: Service, new_key: Callable[..., dict[str, str]]) -> None:
    token = new_key("--concurrency", "2")["key"]
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda _: ask(books, token, model="hang").status_code, range(6)))
    assert codes.count(429) == 4
    assert ask(books, token).status_code == 200


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_exactly_what_fits_a_budget_is_served(books: Service, new_key: Callable[..., dict[str, str]]) -> None:
    made = new_key("--usd-per-day", str(COST * 20))
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda _: ask(books, made["key"]), range(80)))
    codes = [response.status_code for response in responses]
    assert (codes.count(200), codes.count(402)) == (20, 60)
    refused = next(response for response in responses if response.status_code == 402)
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert "0.00048 USD, has no room" in refused.json()["error"]["message"]
    budgets = {row["name"]: row for row in books.client.get("/budgets").json(parse_float=Decimal)["budgets"]}
    mine = budgets[f"the daily budget of key {made['id']}"]
    assert (mine["spent_usd"], mine["limit_usd"], mine["share"]) == (COST * 20, COST * 20, 1)
    reset = books.client.post("/admin/budgets/reset", params={"counter": mine["counter"]})
    assert reset.status_code == 200
    assert ask(books, made["key"]).status_code == 200


def test_a_budget_that_is_no_amount_breaks_no_other(books: Service) -> None:
    database = SqliteDatabase(books.database)
    store = KeyStore(database)
    callers = [Caller(usd_per_day=Decimal(usd)) for usd in ("NaN", "Infinity", "-1", "1e400")]
    made = [store.create(caller) for caller in callers]
    ended = store.create(Caller(usd_per_day=Decimal(1)))[1].id
    store.revoke(ended)
    assert [str(key.caller.usd_per_day) for key in store.all()[-5:-1]] == ["0", "9000000", "0", "9000000"]
    database.close()
    assert until(lambda: ask(books, made[-1][0]).status_code == 200)
    assert [ask(books, token).status_code for token, _ in made] == [402, 200, 402, 200]
    counters = [row["counter"] for row in books.client.get("/budgets").json()["budgets"]]
    mine = next(counter for counter in counters if made[1][1].id in counter)
    assert not any(ended in counter for counter in counters)
    assert books.client.post("/admin/budgets/reset", json={"counter": mine}).json()["counter"] == mine
    for sent, got in (({}, "is missing"), ({"counter": "x"}, "got 'x'")):
        refused = books.client.post("/admin/budgets/reset", json=sent)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == f"counter: {got}, expected one that GET /budgets names"


def test_a_soft_limit_slides_the_dial_and_the_hard_one_refuses(books: Service) -> None:
    def spent() -> Decimal:
        rows = books.client.get("/budgets").json(parse_float=Decimal)["budgets"]
        return Decimal(next(row["spent_usd"] for row in rows if row["name"] == "the budget billing-route"))

    counted = [spent()]
    thrifts = []
    while counted[-1] + COST <= Decimal("0.00012"):
        response = ask(books, model="auto:billing")
        assert response.status_code == 200
        thrifts.append(response.json()["decision"]["thrift"])
        counted.append(counted[-1] + COST)
        assert until(lambda: spent() == counted[-1])
    assert until(lambda: ask(books, path="/route", model="auto:billing").json()["thrift"] == 1)
    decision = ask(books, path="/route", model="auto:billing").json()
    assert "100% of the budget billing-route is spent, so cheaper models are preferred" in decision["explanation"]
    assert thrifts[0] == 0
    assert ask(books, model="auto:billing").status_code == 402


def test_a_model_without_budget_leaves_the_plan(books: Service) -> None:
    response = ask(books, model="auto", models=["tools", "ok"])
    assert response.json()["model"] == "ok"
    assert "the budget tools-model" in response.json()["decision"]["rejected"]["tools"]


def test_the_deployments_of_a_model_draw_on_its_budget_and_are_for_its_keys(
    books: Service, new_key: Callable[..., dict[str, str]]
) -> None:
    token = new_key("--model", "twin")["key"]
    served = [ask(books, token, model=model).json()["model"] for model in ("twin", "twin@faults")]
    assert served[0] in ("twin", "twin@faults")  # who names the model gets either
    assert served[1] == "twin@faults"
    refused = ask(books, token, model="twin@faults")
    assert (refused.status_code, "0.000048 USD are spent" in refused.text) == (402, True)


# --- feedback ---------------------------------------------------------------------------------------------------------


def test_feedback_is_given_by_id(books: Service) -> None:
    id_ = ask(books).headers["x-semroute-decision"]
    for _ in range(2):
        given = books.client.post("/feedback", json={"decision": id_, "thumbs": "up", "label": "coding"})
        assert given.status_code == 200
    feedback = books.client.get(f"/decisions/{id_}").json()["feedback"]
    assert (feedback["score"], feedback["label"], feedback["comment"]) == (1, "coding", None)
    for bad in ({}, {"score": 2}, {"label": "nowhere"}, {"thumbs": "sideways"}):
        assert books.client.post("/feedback", json={"decision": id_, **bad}).status_code == 400
    missing = books.client.post("/feedback", json={"thumbs": "up"})
    assert (missing.status_code, missing.json()["error"]["param"]) == (400, "decision")
    unknown = books.client.post("/feedback", json={"decision": id_, "stars": 5}).json()["error"]["message"]
    assert "unknown key `stars`" in unknown
    assert "`thumbs`" in unknown
    assert books.client.post("/feedback", json={"decision": "nothing", "score": 1}).status_code == 404


def test_feedback_is_no_longer_than_a_comment_can_make_it(books: Service) -> None:
    id_ = ask(books).headers["x-semroute-decision"]
    path = books.client.post("/feedback/links", json={"decision": id_}).json()["path"]
    form = {"content-type": "application/x-www-form-urlencoded"}
    for url, body, headers in (
        ("/feedback", json.dumps({"decision": id_, "comment": "x" * 70_000}), {"content-type": "application/json"}),
        ("/feedback/links", json.dumps({"decision": "x" * 70_000}), {"content-type": "application/json"}),
        (path, "&".join(f"a{number}=b" for number in range(10_000)), form),
    ):
        answer = books.client.post(url, content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
    said = {"thumbs": "up", "comment": "\U0001f600" * 2000}
    assert books.client.post("/feedback", json={"decision": id_, **said}).status_code == 200
    assert books.client.post(path, data=said).status_code == 200
    assert books.client.post(path, files={"thumbs": (None, "down")}).status_code == 200
    assert books.client.get(f"/decisions/{id_}").json()["feedback"]["score"] == 0


def test_an_end_user_gives_feedback_by_a_signed_link(books: Service) -> None:
    id_ = ask(books).headers["x-semroute-decision"]
    path = books.client.post("/feedback/links", json={"decision": id_}).json()["path"]
    with httpx.Client(base_url=books.url, trust_env=False) as nobody:
        assert "<form" in nobody.get(path).text
        assert nobody.post(path, data={"thumbs": "down", "comment": "wrong"}).status_code == 200
        head, when, signature = path.rsplit(".", 2)
        other = links("feedback-secret").dumps("another decision").split(".")[0]
        for forged in (
            f"/feedback/{other}.{when}.{signature}",
            f"{head}.{when[:-1]}{'A' if when[-1] != 'A' else 'B'}.{signature}",
            f"{head}.{when}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
            f"/feedback/{links('another secret').dumps(id_)}",
        ):
            told = nobody.post(forged, data={"thumbs": "up"})
            assert (told.status_code, "this feedback link was not signed by this service" in told.text) == (401, True)
    feedback = books.client.get(f"/decisions/{id_}").json()["feedback"]
    assert (feedback["score"], feedback["comment"]) == (0, "wrong")


@pytest.mark.parametrize(("made_s_ago", "taken"), [(LINK_S + 1, False), (LINK_S - 60, True), (-60, True)])
def test_a_signed_link_works_for_thirty_days(books: Service, made_s_ago: int, taken: bool) -> None:
    """Also where the clock of the machine that made it is ahead."""

    class Then(TimestampSigner):
        def get_timestamp(self) -> int:
            return super().get_timestamp() - made_s_ago

    maker = links("feedback-secret")
    maker.signer = Then
    id_ = ask(books).headers["x-semroute-decision"]
    path = f"/feedback/{maker.dumps(id_)}"
    with httpx.Client(base_url=books.url, trust_env=False) as nobody:
        for told in (nobody.get(path), nobody.post(path, data={"thumbs": "up"})):
            assert told.status_code == (200 if taken else 401)
            assert ("this link has expired" in told.text) is not taken
    assert (books.client.get(f"/decisions/{id_}").json().get("feedback") is not None) is taken


def test_a_signed_link_comes_with_the_time_of_its_end(books: Service) -> None:
    id_ = ask(books).headers["x-semroute-decision"]
    given = books.client.post("/feedback/links", json={"decision": id_}).json()
    token = given["path"].removeprefix("/feedback/")
    decision, signed_at = links("feedback-secret").loads(token, return_timestamp=True)
    assert decision == id_
    assert signed_at.timestamp() + LINK_S - given["expires"] in (0, 1)  # the clock may tick between the two


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_to_be_found_anywhere(books: Service, faults: FaultServer) -> None:
    secret = "my password is correct-horse-battery-staple"
    bodies = [
        ask(books, prompt=secret, stream=stream, model=model).text
        for stream in (False, True)
        for model in ("quotes-key", "status-400", "status-500", "cut-after-2", "malformed-json")
    ]
    answered = ask(books, prompt=secret, metadata={"feature": "secrets"})
    record_of(books, answered)
    log = books.log
    metrics = books.client.get("/metrics").text
    stored = b"".join(file.read_bytes() for file in books.database.parent.glob("semroute*.db*"))
    connection = sqlite3.connect(books.database)
    rows = repr(connection.execute("SELECT * FROM decisions").fetchall())
    rows += repr(
        [json.dumps(books.client.get(f"/decisions/{i}").json()) for (i,) in connection.execute("SELECT id FROM bodies")]
    )
    connection.close()
    for known in (PROVIDER_KEY, "admin-key", "api-key", "feedback-secret", "correct-horse"):
        assert known not in log
        assert known not in metrics
        assert known.encode() not in stored
        assert known not in rows
        assert not any(known in body for body in bodies)
    assert answered.json()["content"] not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line.get("request_id") == answered.headers["x-semroute-decision"] for line in lines)


def test_two_callers_share_no_conversation_and_no_answer(
    books: Service, new_key: Callable[..., dict[str, str]], faults: FaultServer
) -> None:
    headers = {"x-semroute-session": "mine", "idempotency-key": "mine"}
    callers = [
        {"x-goog-api-key": new_key("--scope", "route", "--scope", "complete")["key"], **headers} for _ in range(2)
    ]
    books.client.headers.pop("authorization")
    try:
        bodies = [{"prompt": "why was I charged twice"}, {"prompt": "and the second one?"}]
        pinned = {"prompt": PROMPT, "model": "ok"}
        asked = [books.client.post("/complete", json=pinned, headers=caller) for caller in callers * 2]
        ids = [response.headers["x-semroute-decision"] for response in asked]
        assert ids[0] == ids[2] != ids[1] == ids[3]
        books.client.post("/route", json=bodies[0], headers={**callers[0], "x-semroute-session": "ours"})
        there, elsewhere = (
            books.client.post("/route", json=bodies[1], headers={**caller, "x-semroute-session": "ours"}).json()
            for caller in callers
        )
        assert (there["reason"], elsewhere["reason"] == "sticky") == ("sticky", False)
    finally:
        books.client.headers["authorization"] = "Bearer admin-key"


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_count_what_happened(books: Service) -> None:
    def value(line: str) -> float:
        text = books.client.get("/metrics").text
        return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line)), 0.0)

    assert books.client.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    before = value('semroute_cost_usd_total{model="ok",route=""}')
    ask(books)
    assert value('semroute_cost_usd_total{model="ok",route=""}') == pytest.approx(before + 0.000024)
    assert value('semroute_tokens_total{kind="cached",model="ok"}') >= 4
    assert value("semroute_shared_state_up") == 1
    assert value("semroute_overhead_seconds_count") > 0
    refused = value('semroute_refused_requests_total{code="model_not_found"}')
    assert ask(books, model="no-such-model").status_code == 404
    assert value('semroute_refused_requests_total{code="model_not_found"}') == refused + 1
    assert value('semroute_breaker_open{model="ok"}') == value("semroute_running_requests") == 0
    assert value('semroute_model_latency_seconds{model="ok"}') > 0
    assert value("semroute_confidence_ratio_count") > 0
    assert value("semroute_decision_seconds_count") > 0
    ask(books, stream=True)
    assert value('semroute_first_token_seconds_count{model="ok"}') > 0
    abstained = value("semroute_abstentions_total")
    ask(books, model="auto", prompt="¿Qué tiempo hará mañana en Madrid?")
    assert value("semroute_abstentions_total") == abstained + 1


def test_the_trace_goes_on_to_the_provider(books: Service, faults: FaultServer) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"traceparent": trace, "tracestate": "vendor=1"}
    books.client.post("/complete", json={"prompt": "x", "model": "ok"}, headers=headers)
    assert faults.requests[-1].headers["traceparent"] == trace
    assert faults.requests[-1].headers["tracestate"] == "vendor=1"
