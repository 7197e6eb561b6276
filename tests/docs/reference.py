"""The pages of the docs that are made from the code: `python -m tests.docs.reference` writes them anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import click
import msgspec

from semroute import errors
from semroute.api.app import create_app
from semroute.api.error_responses import status_of
from semroute.cli.commands import group
from semroute.config.jsonschema import field_docs, json_schema
from semroute.errors import ConfigError, NoModelError, PlanExhaustedError, ProviderError, SemrouteError
from semroute.execution import faults
from semroute.settings import Settings, variable
from tests.conftest import ROOT

PAGES = ROOT / "docs" / "pages" / "reference"
FAULTS = ROOT / "docs" / "pages" / "failures.md"
"""Holds a table that is made from the code."""
COMMAND = "python -m tests.docs.reference"
CACHE_DIR = (
    "| `SEMROUTE_CACHE_DIR` | the user's cache folder | Where semroute keeps what it learned from the utterances. "
    "Every command reads this variable. |"
)
SECTIONS = {
    "Decide and answer": ("/route", "/complete", "/routes"),
    "OpenAI": ("/v1/chat", "/v1/completions", "/v1/embeddings", "/v1/models", "/openai"),
    "OpenAI Responses": ("/v1/responses",),
    "OpenAI, passed on to one provider": ("/v1/files", "/v1/batches", "/v1/moderations"),
    "Anthropic": ("/v1/messages",),
    "Gemini": ("/v1beta", "/v1/models/{call}"),
    "Ollama": ("/api",),
    "Log and feedback": ("/decisions", "/stats", "/feedback", "/learned", "/budgets", "/experiments"),
    "Operate": ("/health", "/metrics", "/alarms", "/admin", "/ui"),
    "Learn from the log": ("/learning",),
}


def page(title: str, intro: str, body: Iterator[str]) -> str:
    """A page, with a note that says what it is made from."""
    return f"# {title}\n\n<!-- Made from the code: {COMMAND} -->\n\n{intro}\n\n" + "\n".join(body).strip() + "\n"


# --- route files ------------------------------------------------------------------------------------------------------


def route_files() -> str:
    """Every key that a route file may hold, with the lines under the fields of the structs."""
    schema = json_schema()
    structs = schema["$defs"]
    top = schema["$ref"].rpartition("/")[2]

    def body() -> Iterator[str]:
        waiting, seen = [top], {top}
        while waiting:
            name = waiting.pop(0)
            struct = structs[name]
            yield from _struct(name, struct, set(struct.get("required", ())), top=name == top)
            for found in re.findall(r"#/\$defs/(\w+)", str(struct["properties"])):
                if found not in seen:
                    seen.add(found)
                    waiting.append(found)

    intro = (
        "A routes folder holds `*.yaml` and `*.yml` files, and semroute merges them all. This page lists every key. "
        "`semroute schema` prints the same as a JSON Schema, for editors. [Write routes](../routes.md) explains how to "
        "use the keys."
    )
    return page("Route files", intro, body())


def _struct(name: str, struct: dict[str, Any], required: set[str], *, top: bool) -> Iterator[str]:
    yield f"## {'The file' if top else name}\n"
    yield f"{_prose(struct['description'])}\n"
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for key, field in struct["properties"].items():
        default = "required" if key in required else _default(field)
        yield f"| `{key}` | {_kind(field)} | {default} | {_prose(field.get('description', ''))} |"
    yield ""


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value in (None, "", [], {}) or isinstance(value, dict):
        return ""
    words = {True: "true", False: "false"}
    text = words[value] if isinstance(value, bool) else msgspec.json.encode(value).decode().strip('"')
    return f"`{text}`"


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_kind(part) for part in field["anyOf"] if part != {"type": "null"})
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    match field.get("type"):
        case "array":
            return f"list of {_kind(field['items'])}" if field.get("items") else "list"
        case "object":
            values = field.get("additionalProperties")
            return f"mapping to {_kind(values)}" if isinstance(values, dict) and values else "mapping"
        case "string":
            return "date" if field.get("format") == "date" else "text"
        case "integer" | "number" as kind:
            return f"{'whole number' if kind == 'integer' else 'number'}{_bounds(field)}"
        case "boolean":
            return "`true` or `false`"
    return "any"


def _bounds(field: dict[str, Any]) -> str:
    names = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
    told = [words.format(f"{field[name]:g}") for name, words in names.items() if name in field]
    return f" {' '.join(told)}" if told else ""


def _prose(text: str) -> str:
    """A docstring in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


# --- settings ---------------------------------------------------------------------------------------------------------


def settings() -> str:
    """Every `SEMROUTE_*` variable."""
    docs = field_docs(Settings)

    def body() -> Iterator[str]:
        yield "| variable | default | |"
        yield "|---|---|---|"
        for field in msgspec.structs.fields(Settings):
            value = str(field.default).lower() if isinstance(field.default, bool) else field.default
            default = "" if value == "" else f"`{value}`"
            yield f"| `{variable(field.name)}` | {default} | {_prose(docs[field.name])} |"
        yield CACHE_DIR

    intro = (
        "The service reads these environment variables once, when it starts. Options of `semroute serve` override "
        "them. The [route files](route-files.md) say what is routed where."
    )
    return page("Settings", intro, body())


# --- the command line -------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command, with its arguments and options."""

    def body() -> Iterator[str]:
        with click.Context(group, info_name="semroute") as context:
            for name in group.list_commands(context):
                command = group.get_command(context, name)
                assert command is not None
                yield from _command(command, context, name)

    intro = (
        "`semroute COMMAND --help` prints the same. The exit code is 0 if all is well, 1 if the thing that was checked "
        "is bad, and 2 if the command was used wrongly. With `--json` a command prints JSON."
    )
    return page("Command line", intro, body())


def _command(command: click.Command, above: click.Context, name: str) -> Iterator[str]:
    with click.Context(command, parent=above, info_name=name) as context:
        yield f"## {context.command_path}\n"
        yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
        for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
            yield f"{_paragraph(paragraph)}\n"
        parameters = [each for each in command.get_params(context) if "--help" not in each.opts]
        options = [each for each in parameters if isinstance(each, click.Option) and not each.hidden]
        records = [record for option in options if (record := option.get_help_record(context))]
        if records:
            yield "| option | |"
            yield "|---|---|"
            for names, about in records:
                yield f"| `{_prose(names)}` | {_prose(about)} |"
            yield ""
        if command.epilog:
            example = inspect.cleandoc(command.epilog.replace("\b\n", ""))
            yield f"```text\n{example}\n```\n"
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                yield from _command(found, context, below)


def _paragraph(text: str) -> str:
    """A paragraph of a help text. What click must not wrap begins with `\\b`."""
    head, _, rest = text.partition("\n")
    return f"```text\n{rest}\n```" if head == "\b" else " ".join(text.split())


# --- HTTP -------------------------------------------------------------------------------------------------------------


def paths() -> str:
    """Every path of the service, and every code of an error."""
    document = create_app(Settings(database_url="memory:")).openapi_schema.to_schema()

    def body() -> Iterator[str]:
        left = dict(sorted(document["paths"].items()))
        chosen: dict[str, list[str]] = {title: [] for title in SECTIONS}
        for path in left:
            fits = [
                (len(start), title) for title, starts in SECTIONS.items() for start in starts if _under(path, start)
            ]
            assert fits, f"{path} belongs to no section: add it to SECTIONS"
            chosen[max(fits)[1]].append(path)
        for title, found in chosen.items():
            yield f"## {title}\n"
            for path in found:
                yield from _path(path, left[path])
        yield "## Error codes\n"
        yield "An error body names one of these codes. Providers' failures come last.\n"
        yield "| status | code | when | try again? |"
        yield "|---|---|---|---|"
        yield from _errors()

    intro = (
        "The service itself shows this page at `/schema`, and as OpenAPI at `/schema/openapi.json`. "
        "[HTTP](../http.md) explains headers, models and errors."
    )
    return page("HTTP paths", intro, body())


def _under(path: str, start: str) -> bool:
    return path == start or path.startswith(f"{start}/")


def _path(path: str, item: dict[str, Any]) -> Iterator[str]:
    for method, operation in item.items():
        yield f"### {method.upper()} {path.replace('id_', 'id')}\n"
        yield f"{operation.get('description') or operation.get('summary')}\n"
        body = operation.get("requestBody") or {}
        if body.get("description"):
            yield f"{body['description']}\n"
        query = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
        rows = [_row(each["name"], each["schema"], each) for each in query]
        for content in body.get("content", {}).values():
            schema = content["schema"]
            needed = set(schema.get("required", ()))
            for name, field in schema.get("properties", {}).items():
                rows.append(_row(name, field, field | {"required": name in needed}))
        if rows:
            yield "| field | value | |"
            yield "|---|---|---|"
            yield from rows
            yield ""


def _row(name: str, schema: dict[str, Any], about: dict[str, Any]) -> str:
    required = ", required" if about.get("required") else ""
    return f"| `{name}` | {_kind(schema)}{required} | {_prose(about.get('description') or '')} |"


def _errors() -> Iterator[str]:
    rows = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, SemrouteError) and "code" in vars(kind):
            error = _instance(kind)
            if kind not in (SemrouteError, ConfigError, ProviderError) and error.code not in rows:
                again = "yes" if error.retryable else "no"
                rows[error.code] = (issubclass(kind, ProviderError), status_of(error), error.code, kind.__doc__, again)
    for _, status, code, about, again in sorted(rows.values(), key=lambda row: row[:3]):
        yield f"| {status} | `{code}` | {_prose((about or '').split(chr(10) * 2)[0])} | {again} |"


def _instance(kind: type[SemrouteError]) -> SemrouteError:
    make: dict[type[SemrouteError], Callable[[], SemrouteError]] = {
        ConfigError: lambda: ConfigError([]),
        NoModelError: lambda: NoModelError({}),
        PlanExhaustedError: lambda: PlanExhaustedError("", last=ProviderError("")),
    }
    return make.get(kind, lambda: kind(""))()


GENERATED: dict[str, Callable[[], str]] = {
    "route-files.md": route_files,
    "settings.md": settings,
    "commands.md": commands,
    "paths.md": paths,
}

if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for name, made in GENERATED.items():
        (PAGES / name).write_text(made(), "utf-8")
    text = FAULTS.read_text("utf-8")
    head, _, tail = text.partition("<!-- faults -->\n")
    FAULTS.write_text(
        f"{head}<!-- faults -->\n{faults.markdown()}<!-- /faults -->{tail.partition('<!-- /faults -->')[2]}"
    )
