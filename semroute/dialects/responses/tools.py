"""Turns the tools of Responses into functions with plain names, and calls of these functions back into items.

Some tools take plain text (`custom`), and some are in a `namespace`. Some are declared in the conversation
(`additional_tools`, `tool_search_output`). OpenAI's models know some without a description (`local_shell`, `shell`,
`apply_patch`).

Sources: https://github.com/openai/openai-python, 3.57.0, `types/responses`; https://github.com/openai/codex; both read
on 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from semroute.bases import Frozen
from semroute.dialects.openai.content import parse_function
from semroute.dialects.shared.body_parsing import arguments_of, object_of, objects_of, problem, shown
from semroute.dialects.shared.custom_tools import COUNT, TEXT, arguments_for, function_of, object_schema, text_of
from semroute.dialects.shared.thinking import signed_id, split_id
from semroute.messages import ChatRequest, Tool, ToolCall, ToolChoice

Kind = Literal["function", "custom", "local_shell", "shell", "apply_patch", "tool_search"]
_TEXTS = {"type": "array", "items": TEXT}


_BUILT_IN: dict[Kind, tuple[str, dict[str, Any]]] = {
    "local_shell": (
        "Run a command on the user's machine.",
        object_schema(
            {
                "command": {**_TEXTS, "description": "The program and its arguments."},
                "working_directory": TEXT,
                "timeout_ms": COUNT,
                "env": {"type": "object", "additionalProperties": TEXT},
                "user": TEXT,
            },
            "command",
        ),
    ),
    "shell": (
        "Run shell commands, one after the other.",
        object_schema({"commands": _TEXTS, "timeout_ms": COUNT, "max_output_length": COUNT}, "commands"),
    ),
    "apply_patch": (
        "Create, change or delete a file.",
        object_schema(
            {
                "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                "path": {**TEXT, "description": "Relative to the root of the workspace."},
                "diff": {**TEXT, "description": "A unified diff; not for `delete_file`."},
            },
            "type",
            "path",
        ),
    ),
    "tool_search": ("Find tools for a task.", object_schema({"query": TEXT}, "query")),
}
"""Descriptions and parameters of tools that OpenAI's models know without them."""
ITEMS: dict[Kind, tuple[str, str]] = {
    "function": ("function_call", "fc"),
    "custom": ("custom_tool_call", "ctc"),
    "local_shell": ("local_shell_call", "lsh"),
    "shell": ("shell_call", "sh"),
    "apply_patch": ("apply_patch_call", "apc"),
    "tool_search": ("tool_search_call", "tsc"),
}
"""The type of a call's item, and the prefix of its id, by the kind of tool."""
KINDS: dict[str, Kind] = {item: kind for kind, (item, _) in ITEMS.items()}


class Origin(Frozen, frozen=True):
    """The tool that a function stands for."""

    kind: Kind
    name: str
    namespace: str = ""


class Toolbox:
    """The tools of one request. A function has the name of its tool, after `namespace__` if there is a namespace."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        """`body` is that of the request. Raises `RequestError` for a tool without a name."""
        self._tools: dict[str, Tool] = {}
        self._origins: dict[str, Origin] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()
        self._hosted: dict[str, None] = {}
        declared = list(_declared(body))
        # A tool without a namespace keeps its name, so these come first.
        for tool, path in declared:
            if tool.get("type") != "namespace":
                self._add(tool, path)
        for tool, path in declared:
            if tool.get("type") == "namespace":
                self._add_all(tool, path)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The functions."""
        return tuple(self._tools.values())

    @property
    def hosted(self) -> tuple[str, ...]:
        """The types of the tools that only OpenAI can run."""
        return tuple(self._hosted)

    def name(self, name: str, namespace: str = "") -> str:
        """Return the name of the function for a tool. The tool may occur only in the conversation."""
        known = self._names.get((namespace, name))
        if known is None:
            known = self._names[namespace, name] = self._free(name, namespace)
        return known

    def origin(self, name: str) -> Origin:
        """Return the tool that a function stands for. Models may leave out its namespace."""
        found = self._origins.get(name)
        if found is None:
            found = self._only(name.rpartition(".")[2])
        return found or Origin("function", name)

    def choice(self, choice: Any) -> Any:
        """Turn a choice of any tool into a choice of its function."""
        match choice:
            case {"type": "function" | "custom", "name": str(name)}:
                return {"type": "function", "name": self.name(name, str(choice.get("namespace") or ""))}
            case {"type": "local_shell" | "shell" | "apply_patch" as kind} if kind in self._tools:
                return {"type": "function", "name": kind}
            case _:
                return choice

    def _only(self, name: str) -> Origin | None:
        """Return the tool of that name in any namespace, if there is only one."""
        found = [origin for origin in self._origins.values() if origin.name == name]
        return found[0] if len(found) == 1 else None

    def _free(self, name: str, namespace: str) -> str:
        """Return a name that no other tool has."""
        wanted = f"{namespace}{'' if namespace.endswith('__') else '__'}{name}" if namespace else name
        number, free = 1, wanted
        while free in self._taken:
            number += 1
            free = f"{wanted}_{number}"
        self._taken.add(free)
        return free

    def _add_all(self, group: Mapping[str, Any], path: str) -> None:
        namespace, about = str(group.get("name") or ""), str(group.get("description") or "")
        for number, tool in enumerate(objects_of(group.get("tools"))):
            self._add(tool, f"{path}.tools[{number}]", namespace, about)

    def _add(self, tool: Mapping[str, Any], path: str, namespace: str = "", about: str = "") -> None:
        kind, name = tool.get("type"), tool.get("name")
        match kind:
            case "function":
                parsed = parse_function(tool, path)
                name = parsed.name
                description = "\n\n".join(filter(None, (about, parsed.description)))
                made = msgspec.structs.replace(parsed, name=self.name(name, namespace), description=description)
            case "custom":
                if not isinstance(name, str):
                    raise problem(f"{path}.name", f"got {shown(name)}, expected the tool's name")
                made = function_of(self.name(name, namespace), tool, about)
            case "local_shell" | "shell" | "apply_patch" | "tool_search" if _is_callers(tool):
                name = kind
                made = _built_in(kind, self.name(kind), tool)
            case "tool_search":
                return  # OpenAI would search for tools and load them later, but here all tools are declared at once
            case _:
                self._hosted[f"tools {kind}"] = None
                return
        self._tools[made.name] = made
        self._origins[made.name] = Origin(kind, name, namespace)


def toolbox_of(request: ChatRequest) -> Toolbox:
    """Return the tools of a request. In other dialects all tools are functions, so the toolbox is empty."""
    return Toolbox(request.raw if request.dialect == "responses" else {})


def _declared(body: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the tools of the request and those that its conversation adds, each with its path."""
    for number, tool in enumerate(objects_of(body.get("tools"))):
        yield tool, f"tools[{number}]"
    for place, item in enumerate(objects_of(body.get("input"))):
        if item.get("type") in ("additional_tools", "tool_search_output"):
            for number, tool in enumerate(objects_of(item.get("tools"))):
                yield tool, f"input[{place}].tools[{number}]"


def _is_callers(tool: Mapping[str, Any]) -> bool:
    """Whether the caller runs the tool, and not OpenAI."""
    if tool["type"] == "tool_search":
        return tool.get("execution") == "client"
    match tool.get("environment"):
        case {"type": str(kind)}:
            return kind == "local"
        case _:
            return True


def _built_in(kind: Kind, name: str, tool: Mapping[str, Any]) -> Tool:
    description, schema = _BUILT_IN[kind]
    parameters = tool.get("parameters")
    return Tool(
        name=name,
        description=str(tool.get("description") or description),
        parameters=parameters if isinstance(parameters, dict) else schema,
    )


# --- calls ------------------------------------------------------------------------------------------------------------


def parse_call(item: Mapping[str, Any], toolbox: Toolbox) -> ToolCall | None:
    """Read a tool call. None: the item is something else, or has no call id."""
    kind = KINDS.get(str(item.get("type")))
    id_ = item.get("call_id")
    if kind is None or not isinstance(id_, str):  # calls that OpenAI runs itself have none
        return None
    id_, signature = split_id(id_)
    if kind not in ("function", "custom"):
        return ToolCall(id=id_, name=toolbox.name(kind), arguments=_arguments(kind, item), signature=signature)
    name, namespace = item.get("name"), str(item.get("namespace") or "")
    if not isinstance(name, str):
        return None
    said = item.get("input") if kind == "custom" else item.get("arguments")
    if kind == "custom" and not isinstance(said, str):
        return None
    arguments = arguments_for(str(said)) if kind == "custom" else arguments_of(said or "")
    return ToolCall(id=id_, name=toolbox.name(name, namespace), arguments=arguments, signature=signature)


def _arguments(kind: Kind, item: Mapping[str, Any]) -> str:
    match kind:
        case "apply_patch":
            said = item.get("operation")
        case "tool_search":
            said = item.get("arguments")
        case _:
            said = item.get("action")
    if kind == "local_shell" and isinstance(said, dict):
        said = {name: value for name, value in said.items() if name != "type" and value not in (None, {})}
    return arguments_of(said or {})


def render_call(number: int, request_id: str, call: ToolCall, origin: Origin, status: str) -> dict[str, Any]:
    """Render the item of a call."""
    item, prefix = ITEMS[origin.kind]
    namespace = {"namespace": origin.namespace} if origin.namespace else {}
    head = {"type": item, "id": f"{prefix}_{request_id}_{number}", "status": status, "call_id": signed_id(call)}
    match origin.kind:
        case "function":
            return {**head, "name": origin.name, **namespace, "arguments": call.arguments}
        case "custom":
            return {**head, "name": origin.name, **namespace, "input": text_of(call.arguments)}
        case "local_shell":
            return {**head, "action": {"type": "exec", "env": {}, "command": [], **_object(call)}}
        case "shell":
            return {**head, "action": {"timeout_ms": None, "max_output_length": None, "commands": [], **_object(call)}}
        case "apply_patch":
            operation = {"type": "update_file", "path": "", **_object(call)}
            diff = {} if operation["type"] == "delete_file" else {"diff": ""}
            return {**head, "operation": {**diff, **operation}}
        case "tool_search":
            return {**head, "execution": "client", "arguments": _object(call)}


def _object(call: ToolCall) -> dict[str, Any]:
    """Return the arguments. Models may write one text instead of a list of texts."""
    said = object_of(call.arguments)
    if isinstance(command := said.get("command"), str):
        said["command"] = ["bash", "-lc", command]
    if isinstance(commands := said.get("commands"), str):
        said["commands"] = [commands]
    return said


# --- results ----------------------------------------------------------------------------------------------------------

OUTPUTS = frozenset(f"{item}_output" for item, _ in ITEMS.values())
"""Types of items with the result of a call, except results of a tool search."""


def output_of(item: Mapping[str, Any]) -> tuple[str, Any, bool] | None:
    """Read a tool result: the call's id, the output, and whether it failed. None: the item is something else."""
    kind, id_ = item.get("type"), item.get("call_id") or item.get("id")
    if kind == "tool_search_output" and isinstance(item.get("call_id"), str):
        found = ", ".join(str(tool.get("name") or tool.get("type")) for tool in objects_of(item.get("tools")))
        return split_id(str(id_))[0], f"These tools can be used now: {found or 'none'}", False
    if not isinstance(kind, str) or kind not in OUTPUTS or not isinstance(id_, str):
        return None
    id_, said = split_id(id_)[0], item.get("output")
    if kind == "shell_call_output" and not isinstance(said, str):
        said = msgspec.json.encode(said).decode()
    if kind == "apply_patch_call_output":
        return id_, said or str(item.get("status") or ""), item.get("status") == "failed"
    return id_, said, False


def render_tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    """Render the field `tool_choice`."""
    return {"type": "function", "name": choice.name} if choice.mode == "tool" else choice.mode
