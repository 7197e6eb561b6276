"""Tools that are no functions: told to every provider as functions, and their calls told back as what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from semroute.dialects.anthropic.client import Anthropic
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.responses.client import Responses
from semroute.dialects.shared.custom_tools import text_of
from semroute.dialects.shared.fitting import Restorer
from semroute.dialects.sse import EventParser
from semroute.errors import RequestError
from semroute.messages import ChatRequest, Chunk, Completion, Text, ToolCall, ToolChoice, ToolResult, Usage
from tests.dialects.test_round_trips import DECISION, PROVIDERS, RECORD, model_of

SAID = {"type": "message", "role": "user", "content": "Go."}
FUNCTION = {"type": "function", "name": "spawn", "description": "Start.", "parameters": {"type": "object"}}
LARK = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/s"}
PATCH = {"type": "custom", "name": "patch", "description": "Change files.", "format": LARK}
GROUP = {"type": "namespace", "name": "helpers", "description": "About helpers.", "tools": [FUNCTION, PATCH]}
OTHERS = [name for name in PROVIDERS if name != "responses"]


def asked(*tools: Any, more: tuple[Any, ...] = (), **fields: Any) -> ChatRequest:
    body = {"input": [SAID, *more, SAID], "tools": list(tools), **fields}
    return Responses().parse_request(json.loads(json.dumps(body)), "1")


def declared(receiver: str, request: ChatRequest) -> list[str]:
    body = json.loads(PROVIDERS[receiver].render_request(request, model_of(receiver)).body)
    match receiver:
        case "gemini":
            return [tool["name"] for tool in body["tools"][0]["functionDeclarations"]]
        case "bedrock":
            return [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]]
        case _:
            return [tool.get("name") or tool["function"]["name"] for tool in body["tools"]]


@pytest.mark.parametrize("receiver", OTHERS)
@pytest.mark.parametrize(
    ("tools", "more", "names"),
    [
        ([PATCH], [], ["patch"]),
        ([GROUP], [], ["helpers__spawn", "helpers__patch"]),
        ([{**GROUP, "name": "mcp__x__"}], [], ["mcp__x__spawn", "mcp__x__patch"]),
        ([], [{"type": "additional_tools", "role": "developer", "tools": [FUNCTION, GROUP]}],
         ["spawn", "helpers__spawn", "helpers__patch"]),
        ([{"type": "tool_search", "execution": "client"}, FUNCTION],
         [{"type": "tool_search_call", "call_id": "t", "arguments": {"query": "q"}, "execution": "client"},
          {"type": "tool_search_output", "call_id": "t", "tools": [GROUP]}],
         ["tool_search", "spawn", "helpers__spawn", "helpers__patch"]),
        ([{"type": "local_shell"}, {"type": "shell", "environment": {"type": "local"}}, {"type": "apply_patch"}], [],
         ["local_shell", "shell", "apply_patch"]),
    ],
    ids=["custom", "namespace", "namespace of a server", "additional", "found", "built in"],
)  # fmt: skip
def test_every_tool_of_the_callers_is_declared(
    receiver: str, tools: list[Any], more: list[Any], names: list[str]
) -> None:
    request = asked(*tools, more=tuple(more))
    assert declared(receiver, request) == names
    assert request.unread == ()
    assert PROVIDERS[receiver].render_request(request, model_of(receiver)).dropped == ()


def test_what_openai_runs_itself_is_left_out_with_a_note() -> None:
    hosted = [{"type": "web_search"}, {"type": "shell", "environment": {"type": "container_auto"}}]
    request = asked(*hosted, {"type": "tool_search"}, {"type": "tool_search", "execution": "server"}, PATCH)
    assert request.unread == ("tools web_search", "tools shell")
    assert [tool.name for tool in request.tools] == ["patch"]


def test_a_text_tool_says_what_its_text_looks_like() -> None:
    (top,), (_, inner) = asked(PATCH).tools, asked(GROUP).tools
    assert top.description == "Change files.\n\n`input` must match this grammar (lark):\nstart: /.+/s"
    assert inner.description == f"About helpers.\n\n{top.description}"
    assert (top.parameters["required"], top.parameters["additionalProperties"]) == (["input"], False)
    plain = asked({"type": "custom", "name": "t", "format": {"type": "text"}}).tools[0]
    assert plain.description == ""


def test_names_are_apart_and_a_tool_that_is_declared_again_replaces_the_first() -> None:
    again = {**PATCH, "description": "Newer."}
    clash = {**FUNCTION, "name": "helpers__spawn"}
    request = asked(GROUP, clash, PATCH, more=({"type": "additional_tools", "tools": [again, GROUP]},))
    names = [tool.name for tool in request.tools]
    assert names == ["helpers__spawn", "patch", "helpers__spawn_2", "helpers__patch"]
    assert request.tools[1].description.startswith("Newer.")
    items = output(request, ToolCall(id="a", name="helpers__spawn"), ToolCall(id="b", name="helpers__spawn_2"))
    assert [(item["name"], item.get("namespace")) for item in items] == [("helpers__spawn", None), ("spawn", "helpers")]


@pytest.mark.parametrize("tool", [{"type": "custom"}, {"type": "function"}, {"type": "custom", "name": 3}])
@pytest.mark.parametrize(("wrap", "path"), [(False, "tools[0].name"), (True, "tools[0].tools[0].name")])
def test_a_tool_without_a_name_is_refused(tool: dict[str, Any], wrap: bool, path: str) -> None:
    with pytest.raises(RequestError) as refused:
        asked({"type": "namespace", "name": "n", "tools": [tool]} if wrap else tool)
    assert refused.value.param == path


# --- calls of the model -----------------------------------------------------------------------------------------------

EXEC = {"type": "exec", "env": {}}
CALLS: dict[str, tuple[dict[str, Any], ToolCall, dict[str, Any]]] = {
    "function": (
        FUNCTION, ToolCall(id="c", name="spawn", arguments='{"a":1}'),
        {"type": "function_call", "name": "spawn", "arguments": '{"a":1}'},
    ),
    "custom": (
        PATCH, ToolCall(id="c", name="patch", arguments='{"input":"*** \\"é\\"\\n"}'),
        {"type": "custom_tool_call", "name": "patch", "input": '*** "é"\n'},
    ),
    "function in a namespace": (
        GROUP, ToolCall(id="c", name="helpers__spawn", arguments="{}"),
        {"type": "function_call", "name": "spawn", "namespace": "helpers", "arguments": "{}"},
    ),
    "custom in a namespace": (
        GROUP, ToolCall(id="c", name="helpers__patch", arguments='{"input":"x"}'),
        {"type": "custom_tool_call", "name": "patch", "namespace": "helpers", "input": "x"},
    ),
    "namespace left out": (
        GROUP, ToolCall(id="c", name="patch", arguments='{"input":"x"}'),
        {"type": "custom_tool_call", "name": "patch", "namespace": "helpers", "input": "x"},
    ),
    "namespace with a dot": (
        GROUP, ToolCall(id="c", name="helpers.spawn", arguments="{}"),
        {"type": "function_call", "name": "spawn", "namespace": "helpers", "arguments": "{}"},
    ),
    "local_shell": (
        {"type": "local_shell"}, ToolCall(id="c", name="local_shell", arguments='{"command":["ls"],"timeout_ms":9}'),
        {"type": "local_shell_call", "action": {**EXEC, "command": ["ls"], "timeout_ms": 9}},
    ),
    "local_shell with one text": (
        {"type": "local_shell"}, ToolCall(id="c", name="local_shell", arguments='{"command":"ls -l"}'),
        {"type": "local_shell_call", "action": {**EXEC, "command": ["bash", "-lc", "ls -l"]}},
    ),
    "shell": (
        {"type": "shell"}, ToolCall(id="c", name="shell", arguments='{"commands":["ls","pwd"]}'),
        {"type": "shell_call", "action": {"commands": ["ls", "pwd"], "timeout_ms": None, "max_output_length": None}},
    ),
    "apply_patch": (
        {"type": "apply_patch"}, ToolCall(id="c", name="apply_patch", arguments='{"type":"delete_file","path":"a"}'),
        {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
    ),
    "tool_search": (
        {"type": "tool_search", "execution": "client"}, ToolCall(id="c", name="tool_search", arguments='{"query":"q"}'),
        {"type": "tool_search_call", "execution": "client", "arguments": {"query": "q"}},
    ),
}  # fmt: skip


def output(request: ChatRequest, *calls: ToolCall) -> list[dict[str, Any]]:
    completion = Completion(parts=calls, finish_reason="tool_calls", usage=Usage(), model="m")
    body = json.loads(Responses().render_completion(completion, RECORD, request))
    Response.model_validate(body)
    assert body["tools"] == [
        {"strict": None, **tool} if tool["type"] == "function" else tool for tool in request.raw["tools"]
    ]
    items: list[dict[str, Any]] = body["output"]
    return items


def streamed(request: ChatRequest, call: ToolCall) -> Iterator[dict[str, Any]]:
    renderer = Responses().stream(request, DECISION)
    half = len(call.arguments) // 2
    pieces = (ToolCall(id=call.id, name=call.name), *map(piece, (call.arguments[:half], call.arguments[half:])))
    wire = b"".join(renderer.chunk(Chunk(parts=(each,))) for each in pieces)
    wire += renderer.chunk(Chunk(finish_reason="tool_calls")) + renderer.end(RECORD)
    for event in EventParser().feed(wire):
        data = json.loads(event.data)
        TypeAdapter(ResponseStreamEvent).validate_python(data)
        yield data


def piece(arguments: str) -> ToolCall:
    return ToolCall(arguments=arguments)


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_comes_back_as_what_was_declared(kind: str) -> None:
    tool, call, expected = CALLS[kind]
    item = output(asked(tool), call)[0]
    assert item == {**expected, "id": item["id"], "call_id": "c", "status": "completed"}


@pytest.mark.parametrize("kind", CALLS)
def test_a_streamed_call_comes_back_as_what_was_declared(kind: str) -> None:
    tool, call, expected = CALLS[kind]
    events = list(streamed(asked(tool), call))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    added = next(event for event in events if event["type"] == "response.output_item.added")
    done = next(event for event in events if event["type"] == "response.output_item.done")
    assert done["item"] == {**expected, "id": added["item"]["id"], "call_id": "c", "status": "completed"}
    assert (added["item"]["type"], added["item"]["status"]) == (expected["type"], "in_progress")
    assert events[-1]["response"]["output"] == [done["item"]]
    between = [event for event in events if "item_id" in event]
    assert {event["item_id"] for event in between} <= {done["item"]["id"]}
    deltas = "".join(event["delta"] for event in between if event["type"].endswith(".delta"))
    kinds = {event["type"].rpartition(".")[0] for event in between}
    if "input" in expected:
        assert (kinds, deltas) == ({"response.custom_tool_call_input"}, expected["input"])
    elif "call" in expected["type"] and expected["type"] == "function_call":
        assert (kinds, deltas) == ({"response.function_call_arguments"}, expected["arguments"])
    else:
        assert not kinds


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"a"}', "a"), ('{"patch":"a"}', "a"), ('"a"', "a"), ("*** Begin\n", "*** Begin\n"), ("", ""),
        ("{}", ""), ('{"a":1}', '{"a":1}'), ('{"a":"x","b":"y"}', '{"a":"x","b":"y"}'), ("[1]", "[1]"),
        ('{"input":"a","note":"b"}', "a"), ('{"input": "cut', '{"input": "cut'),
    ],
)  # fmt: skip
def test_the_text_of_a_call_is_found_however_the_model_wrote_it(arguments: str, text: str) -> None:
    assert text_of(arguments) == text


@pytest.mark.parametrize("receiver", OTHERS)
def test_names_that_a_provider_shortens_come_back_in_their_namespace(receiver: str) -> None:
    long = "server_" * 30
    request = asked({**GROUP, "name": long})
    wire = PROVIDERS[receiver].render_request(request, model_of(receiver))
    sent = declared(receiver, request)[1]
    assert len(sent) <= 128
    call = ToolCall(id="c", name=sent, arguments='{"input":"x"}')
    restored = Restorer(wire.renamed).chunk(Chunk(parts=(call,))).parts[0] if wire.renamed else call
    assert isinstance(restored, ToolCall)
    item = output(request, restored)[0]
    assert (item["type"], item["namespace"], item["name"]) == ("custom_tool_call", long, "patch")


# --- the conversation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("again", [True, False], ids=["declared", "not declared"])
def test_a_call_in_the_conversation_is_one_of_the_same_function(kind: str, again: bool) -> None:
    tool, call, _ = CALLS[kind]
    item = output(asked(tool), call)[0]
    answer: dict[str, Any] = {"type": f"{item['type']}_output", "call_id": "c", "output": "done"}
    if item["type"] == "tool_search_call":
        answer = {"type": "tool_search_output", "call_id": "c", "tools": []}
    request = asked(*([tool] if again else []), more=(item, answer))
    said, given = (message.parts[0] for message in request.messages[1:3])
    assert isinstance(said, ToolCall)
    assert isinstance(given, ToolResult)
    assert (said.id, given.id) == ("c", "c")
    if "left out" not in kind and "dot" not in kind:
        assert said.name == call.name
    if "one text" not in kind and kind != "shell":
        assert json.loads(said.arguments) == json.loads(call.arguments)
    for receiver in OTHERS if again else ():
        assert PROVIDERS[receiver].render_request(request, model_of(receiver)).dropped == ()


def test_results_keep_what_they_say() -> None:
    ran = [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
    request = asked(
        more=(
            {"type": "shell_call_output", "call_id": "a", "output": ran},
            {"type": "local_shell_call_output", "id": "b", "output": "text"},
            {"type": "apply_patch_call_output", "call_id": "c", "status": "failed"},
            {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "t"}]},
            {"type": "tool_search_output", "call_id": "e", "tools": [FUNCTION]},
        )
    )
    results = [part for part in request.messages[1].parts if isinstance(part, ToolResult)]
    assert [(part.id, part.is_error) for part in results] == [
        ("a", False), ("b", False), ("c", True), ("d", False), ("e", False),
    ]  # fmt: skip
    assert json.loads(results[0].text) == ran
    assert [part.text for part in results[1:]] == ["text", "failed", "t", "These tools can be used now: spawn"]


def test_what_one_agent_tells_another_is_a_turn_of_the_user() -> None:
    content = [
        {"type": "input_text", "text": "Look here."},
        {"type": "encrypted_content", "encrypted_content": "Find the bug."},
        {"type": "encrypted_content", "encrypted_content": "gAAAAABo"},
    ]
    request = asked(more=({"type": "agent_message", "author": "/root", "recipient": "/root/a", "content": content},))
    assert request.messages[1].role == "user"
    texts = [part.text for part in request.messages[1].parts if isinstance(part, Text)]
    assert texts == ["Message from /root to /root/a:", "Look here.", "Find the bug."]


def test_a_search_that_openai_ran_is_no_call() -> None:
    searched: dict[str, Any] = {
        "type": "tool_search_call",
        "id": "t",
        "call_id": None,
        "arguments": {},
        "execution": "server",
    }
    request = asked(more=(searched, {"type": "tool_search_output", "call_id": None, "tools": [GROUP]}))
    assert not any(isinstance(part, ToolCall | ToolResult) for message in request.messages for part in message.parts)
    assert [tool.name for tool in request.tools] == ["helpers__spawn", "helpers__patch"]


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "function", "name": "spawn", "namespace": "helpers"}, "helpers__spawn"),
        ({"type": "apply_patch"}, "apply_patch"),
    ],
)
def test_a_tool_is_chosen_by_the_name_of_its_function(choice: dict[str, Any], name: str) -> None:
    request = asked(PATCH, GROUP, {"type": "apply_patch"}, tool_choice=choice)
    assert request.tool_choice == ToolChoice(mode="tool", name=name)
    assert request.unread == ()


# --- Chat Completions -------------------------------------------------------------------------------------------------

CHAT = {
    "messages": [{"role": "user", "content": "Go."}],
    "tools": [
        {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar", "grammar": LARK}}},
        {"type": "function", "function": {"name": "spawn"}},
    ],
    "tool_choice": {"type": "custom", "custom": {"name": "patch"}},
}


def test_text_tools_of_chat_completions_go_the_same_way() -> None:
    request = OpenAI().parse_request(CHAT, "1")
    assert request.unread == ()
    assert request.tool_choice == ToolChoice(mode="tool", name="patch")
    assert request.tools[0].description == "`input` must match this grammar (lark):\nstart: /.+/s"
    calls = (
        ToolCall(id="a", name="patch", arguments='{"input":"x"}', signature="s"),
        ToolCall(id="b", name="spawn", arguments="{}", index=1),
    )
    signed = {"extra_content": {"google": {"thought_signature": "s"}}}
    told = [
        {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}, **signed},
        {"id": "b", "type": "function", "function": {"name": "spawn", "arguments": "{}"}},
    ]
    completion = Completion(parts=calls, finish_reason="tool_calls", usage=Usage(), model="m")
    body = json.loads(OpenAI().render_completion(completion, RECORD, request))
    assert body["choices"][0]["message"]["tool_calls"] == told
    renderer = OpenAI().stream(request, DECISION)
    pieces = [
        ToolCall(id="a", name="patch", signature="s"),
        ToolCall(arguments='{"inp'),
        ToolCall(id="b", name="spawn", arguments="{}", index=1),
        ToolCall(arguments='ut":"x"}'),
    ]
    wire = b"".join(renderer.chunk(Chunk(parts=(each,))) for each in pieces)
    wire += renderer.chunk(Chunk(finish_reason="tool_calls")) + renderer.end(RECORD)
    events = [json.loads(event.data) for event in EventParser().feed(wire) if event.data != b"[DONE]"]
    found = [call for event in events for each in event["choices"] for call in each["delta"].get("tool_calls", ())]
    assert sorted(found, key=lambda call: call["index"]) == [{"index": n, **call} for n, call in enumerate(told)]
    assert [each["finish_reason"] for event in events for each in event["choices"]][-1] == "tool_calls"


def test_text_calls_of_a_chat_server_are_read() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}
    body = {"object": "chat.completion", "choices": [choice], "model": "m"}
    read = PROVIDERS["openai"].parse_completion(json.dumps(body).encode())
    assert read.parts == (ToolCall(id="a", name="patch", arguments='{"input":"x"}'),)


@pytest.mark.parametrize("kind", CALLS)
def test_calls_of_a_responses_server_are_calls(kind: str) -> None:
    tool, call, _ = CALLS[kind]
    item = output(asked(tool), call)[0]
    body = {"object": "response", "status": "completed", "output": [item], "model": "m"}
    read = PROVIDERS["responses"].parse_completion(json.dumps(body).encode())
    assert read.finish_reason == "tool_calls"
    parser = PROVIDERS["responses"].stream_parser()
    parts: list[Any] = []
    reason = None
    for event in (
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": body},
    ):
        wire = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        for each in EventParser().feed(wire):
            chunk = parser.event(each)
            assert chunk is not None
            parts += chunk.parts
            reason = chunk.finish_reason or reason
    calls = [part for part in parts if isinstance(part, ToolCall)]
    assert reason == "tool_calls"
    assert [part.id for part in calls if part.id] == ["c"]
    assert "".join(part.arguments for part in calls) == read.parts[0].arguments  # type: ignore[union-attr]  # a call


# --- Anthropic's own --------------------------------------------------------------------------------------------------

CLAUDES = [
    {"type": "bash_20250124", "name": "bash"},
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9},
    {"type": "memory_20250818", "name": "memory"},
]


@pytest.mark.parametrize("receiver", [name for name in PROVIDERS if name != "anthropic"])
def test_tools_that_claude_knows_are_described_to_others(receiver: str) -> None:
    body = {"max_tokens": 99, "messages": [{"role": "user", "content": "Go."}], "tools": CLAUDES}
    request = Anthropic().parse_request(body, "1")
    assert declared(receiver, request) == ["bash", "str_replace_based_edit_tool", "memory"]
    assert PROVIDERS[receiver].render_request(request, model_of(receiver)).dropped == ()
    native = PROVIDERS["anthropic"].render_request(request, model_of("anthropic"))
    assert json.loads(native.body)["tools"] == CLAUDES


def test_tools_that_anthropic_runs_are_no_functions() -> None:
    hosted = [{"type": "web_search_20250305", "name": "web_search"}, {"type": "bash", "name": "bash"}]
    body = {"max_tokens": 99, "messages": [{"role": "user", "content": "Go."}], "tools": hosted}
    assert Anthropic().parse_request(body, "1").unread == ("tools web_search_20250305", "tools bash")
