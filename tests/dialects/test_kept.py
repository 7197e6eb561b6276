"""What of a response is sent with the next request, and what ends a stream."""

from __future__ import annotations

import json
import time
from typing import Any

from semroute.dialects import sse
from semroute.dialects.responses.stored import as_items, closing, item_id, listed, replayed

MESSAGE = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}


def test_items_are_said_without_what_only_their_provider_knows() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    sealed = {**thought, "encrypted_content": "x"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert replayed([MESSAGE, CALL, thought, sealed, search]) == [
        {"type": "message", "role": "assistant", "content": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        sealed,
        search,
    ]


def test_an_input_of_any_form_is_a_list() -> None:
    assert as_items("hi") == [{"type": "message", "role": "user", "content": "hi"}]
    assert (as_items(None), as_items(7), as_items([1])) == ([], [], [1])


def test_every_item_has_an_id() -> None:
    assert [item_id(item, "r", 2) for item in (MESSAGE, {"id": ""}, "odd")] == ["msg_1", "r_2", "r_2"]


def test_items_are_listed_page_by_page() -> None:
    asked = json.dumps([*as_items("one"), {"role": "assistant", "content": "two"}, CALL]).encode()

    def page(**more: Any) -> tuple[list[str], bool]:
        found = listed(asked, "r", **{"limit": 20, "order": "asc", "after": "", **more})
        assert [found["first_id"], found["last_id"]] == [found["data"][0]["id"], found["data"][-1]["id"]]
        return [item["id"] for item in found["data"]], found["has_more"]

    assert page() == (["in_r_0", "in_r_1", "fc_1"], False)
    assert page(limit=2) == (["in_r_0", "in_r_1"], True)
    assert page(limit=2, after="in_r_1") == (["fc_1"], False)
    assert page(order="desc", limit=1) == (["fc_1"], True)
    first, second, _ = listed(asked, "r", limit=3, order="asc", after="")["data"]
    assert first["content"] == [{"type": "input_text", "text": "one"}]
    assert second["content"] == [{"type": "output_text", "text": "two"}]
    nothing = listed(b"[]", "r", limit=1, order="asc", after="")
    assert (nothing["data"], nothing["first_id"], nothing["has_more"]) == ([], None, False)


def event(kind: str, **fields: Any) -> bytes:
    return sse.render(json.dumps({"type": kind, **fields}).encode(), kind)


def test_the_event_that_ends_a_stream_is_found_behind_others() -> None:
    before = event("response.output_item.done")
    ending = closing(before + event("response.incomplete", response={"id": "r"}, sequence_number=4))
    assert ending is not None
    assert (ending.before, ending.response) == (before, {"id": "r"})
    assert json.loads(ending.render({"id": "s"}).partition(b"data: ")[2].partition(b"data: ")[2]) == {
        "type": "response.incomplete",
        "response": {"id": "s"},
        "sequence_number": 4,
    }
    assert closing(before) is None
    assert closing(event("response.output_text.delta", delta="response.completed")) is None
    assert closing(b"data: response.completed\n\n") is None


def test_many_events_before_the_end_take_time_in_proportion_to_their_number() -> None:
    def cpu_s(count: int) -> float:
        before = event("response.output_item.done", item={"type": "function_call", "arguments": "a" * 500}) * count
        events = before + event("response.completed", response={"id": "r"})
        begun = time.process_time()
        ending = closing(events)
        taken = time.process_time() - begun
        assert ending is not None and ending.before == before
        return taken

    few = min(cpu_s(300) for _ in range(5))
    assert min(cpu_s(6000) for _ in range(3)) < 60 * few
