"""Explanations and sessions, over HTTP."""

from __future__ import annotations

import openai

from tests.service import Service

CHARGED = "why was I charged twice"
LOOP = "my python loop never ends, please repair it"


def ask(service: Service, prompt: str, session: str = "", **body: object) -> dict[str, object]:
    headers = {"x-semroute-session": session} if session else {}
    answer = service.client.post("/route", json={"prompt": prompt, **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    decision: dict[str, object] = answer.json()
    return decision


def test_a_decision_explains_itself_when_asked(service: Service) -> None:
    decision = ask(service, CHARGED, explain=True)
    details = decision["details"]
    assert isinstance(details, dict)
    assert [word["text"] for word in details["words"]] == CHARGED.split()
    assert details["flip"]["gap"] > 0
    assert decision["threshold_from"] == "calibrated"
    assert ask(service, CHARGED)["details"] is None


def test_explaining_is_not_told_to_the_provider(service: Service) -> None:
    answer = service.client.post("/complete", json={"prompt": CHARGED, "explain": True, "user": "u-explain"})
    assert answer.status_code == 200
    assert answer.json()["decision"]["details"]["words"]


def test_a_session_stays_unless_the_subject_changes(service: Service) -> None:
    assert ask(service, CHARGED, "s1")["reason"] == "semantic"
    stays = ask(service, "and the second one?", "s1")
    assert (stays["reason"], stays["route"], stays["model"]) == ("sticky", "billing", "ok")
    assert ask(service, "and the second one?")["reason"] != "sticky"
    changed = ask(service, LOOP, "s1")
    assert (changed["reason"], changed["route"]) == ("semantic", "coding")


def test_a_session_stays_on_the_model_that_answered(service: Service) -> None:
    headers = {"x-semroute-session": "s2"}
    first = service.client.post("/complete", json={"prompt": LOOP}, headers=headers).json()
    assert (first["decision"]["model"], first["model"]) == ("status-500", "ok")
    again = ask(service, "and now?", "s2")
    assert (again["reason"], again["plan"]) == ("sticky", ["ok", "status-500"])


def test_openais_user_names_a_session(service: Service) -> None:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client:
        for turn in (CHARGED, "and the second one?"):
            raw = client.chat.completions.with_raw_response.create(
                model="auto", user="customer-7", messages=[{"role": "user", "content": turn}]
            )
            assert raw.headers["x-semroute-route"] == "billing"


def test_a_pin_is_not_remembered(service: Service) -> None:
    assert ask(service, CHARGED, "s3", model="auto:coding")["reason"] == "pinned"
    assert ask(service, CHARGED, "s3")["reason"] == "semantic"


def test_a_tool_result_keeps_the_decision(service: Service) -> None:
    asked = [{"role": "user", "content": CHARGED}]
    call = {"id": "c1", "type": "function", "function": {"name": "invoices", "arguments": "{}"}}
    results = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "def loop(): refactor this python class"},
    ]
    before = service.client.post("/route", json={"messages": asked}).json()
    after = service.client.post("/route", json={"messages": asked + results}).json()
    same = ("route", "reason", "confidence", "candidates", "model")
    assert [after[key] for key in same] == [before[key] for key in same]
