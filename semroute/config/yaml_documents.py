"""One YAML file -> a `YamlDocument`: plain values, the line of each, the environment's variables put in.

PyYAML composes the nodes in C. ruamel.yaml 0.19, which keeps the lines itself, takes 57 times as long for a file of
1,500 utterances: .37 s (2026-11-30, `bench/libraries.py yaml`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.resolver import Resolver

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]  # same interface, about 15 times slower

from semroute.config.error_wording import Place, got, render
from semroute.errors import Problem

MAX_DEPTH = 50
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
MAX_ALIASED = 100_000
"""Values that aliases may add to a file: far above any real use, far below an alias bomb."""

VERBATIM = frozenset({"utterances", "negatives", "description"})
"""Keys whose strings are people's own words: `${VAR}` is not replaced there."""

VARIABLE = re.compile(r"\$(?P<escape>\$)?\{(?:(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^{}]*))?\})?", re.ASCII)

UNSEEN = "\x85\u2028\u2029"
"""Characters that break lines in YAML 1.1, and nowhere else."""
BREAK = re.compile(f"\r\n|[\n\r{UNSEEN}]")

_PLAIN_INT = re.compile(r"[+-]?(0|[1-9][0-9]*)")

TAG = "tag:yaml.org,2002:"
MERGE = TAG + "merge"
STRINGS = frozenset({TAG + "str", TAG + "value", MERGE})
"""Tags of strings. A lone `=` is a string, and so is `<<` outside of a key."""

_resolver = Resolver()
_constructor = SafeConstructor()
_SCALARS: dict[str, Callable[[ScalarNode], object]] = {
    TAG + "null": _constructor.construct_yaml_null,
    TAG + "bool": _constructor.construct_yaml_bool,
    TAG + "int": _constructor.construct_yaml_int,
    TAG + "float": _constructor.construct_yaml_float,
    TAG + "timestamp": _constructor.construct_yaml_timestamp,
}
_MEANT = dict.fromkeys(_SCALARS, "a number (quote it if you mean text)") | {TAG + "timestamp": "a date that exists"}
"""By tag, what is expected when a value has the form of that tag but cannot be read."""


class Unset(NamedTuple):
    """A variable that a provider names and the environment lacks."""

    place: Place
    variable: str


class Rewritten(NamedTuple):
    """A value that YAML does not read as it looks."""

    text: str
    """The text in the file."""
    value: str
    """The value that YAML reads, as YAML would write it."""


class YamlDocument(NamedTuple):
    """One file."""

    file: str
    value: dict[str, object]
    """The content. Empty: the file cannot be read."""
    lines: dict[Place, int]
    problems: dict[Place, Problem]
    """By place, the first problem found there."""
    unset: list[Unset]
    rewritten: dict[Place, Rewritten]
    """By place, unquoted values that YAML reads as something else, such as `no`, `22:30` or `1.10`."""
    readable: bool = True
    """Whether it is YAML, and a mapping."""

    def problem(self, place: Place, message: str) -> Problem:
        """Return an error at a place, or at its parent if the place has no line of its own."""
        line = next((self.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.lines), 0)
        return Problem(file=self.file, line=line, path=render(place), message=message)


def parse(file: str, data: bytes, environ: Mapping[str, str]) -> YamlDocument:
    """Parse the bytes of a file. Mistakes are listed in `problems`. Nothing is raised."""
    document = YamlDocument(file, {}, {}, {}, [], {})
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _unreadable(document, _line(data, error.start), f"byte {error.start} is not UTF-8, expected UTF-8 text")
    numbers = _numbers(text)
    try:
        node = compose(text)
        value = _Builder(document, environ, numbers).value(node, (), verbatim=False) if node else None
    except yaml.reader.ReaderError as error:
        return _unreadable(document, _line(data, error.position), f"not valid YAML: {error.reason}")
    except yaml.MarkedYAMLError as error:
        reason = ", ".join(filter(None, (error.context, error.problem)))
        lines = BREAK.split(text.rstrip("\n"))
        if _is_too_deep(text, error):
            reason = TOO_DEEP
        # a missing end is reported at the end of the file; the place of its opening says more
        marks = [mark for mark in (error.problem_mark, error.context_mark) if mark and mark.line < len(lines)]
        if not marks:
            return _unreadable(document, numbers[len(lines) - 1], f"not valid YAML: {reason}")
        line, column = marks[0].line, marks[0].column
        advice = _advice(lines[line], column) or _unseen(numbers, line)
        return _unreadable(document, numbers[line], f"not valid YAML: {reason}{advice}")
    if value is None:
        return document
    if not isinstance(value, dict):
        expected = "expected a mapping with keys such as `routes` and `models`"
        return _unreadable(document, 1, f"got {got(value)}, {expected}")
    return document._replace(value=value)


def compose(text: str) -> Node | None:
    """Return the nodes of a file, with their places in the text. None: it is empty. Raises `yaml.YAMLError`."""
    return _Loader(text).get_single_node()


def _is_too_deep(text: str, error: yaml.MarkedYAMLError) -> bool:
    """Return whether brackets are nested too deeply before the place of a mistake.

    libyaml's scanner has a limit of its own, and may reach it before `_Loader` sees anything. The text before that
    place is within its limit.
    """
    mark = error.problem_mark
    depth = 0
    try:
        for event in yaml.parse(text[: mark.index] if mark else text, Loader=SafeLoader):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                return True
    except yaml.YAMLError:
        pass
    return False


def _advice(line: str, column: int) -> str:
    """Return advice on a mistake, if its place shows what it is."""
    found = line[column : column + 1]
    if found == "\t":
        return " (a tab: YAML is indented with spaces)"
    if found == "{" and line[:column].endswith("$"):
        return ' (quote a variable within brackets: `"${NAME}"`)'
    first = "*" if line[:column].endswith("*") else found  # libyaml says that the name of an alias is missing
    if first and first in "*@`%":
        return f" (quote a value that begins with {first!r})"
    return ""


def _unseen(numbers: Sequence[int], at: int) -> str:
    """Say what may cause a mistake: the last line before it that holds an invisible line break."""
    broken = next((line for line in range(at, 0, -1) if numbers[line] == numbers[line - 1]), 0)
    return f" (line {numbers[broken]} holds an invisible line break: U+2028, U+2029 or U+0085)" if broken else ""


def _numbers(text: str) -> list[int]:
    """Return the line in the file for each line that YAML counts.

    The last line stands twice, because YAML counts the end of the file.
    """
    numbers = [1]
    for found in BREAK.finditer(text):
        numbers.append(numbers[-1] + (found[0] not in UNSEEN))
    return [*numbers, numbers[-1]]


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _unreadable(document: YamlDocument, line: int, message: str) -> YamlDocument:
    problem = Problem(file=document.file, line=line, path="$", message=message)
    return document._replace(value={}, problems={(): problem}, readable=False)


class _Loader(SafeLoader):
    """A loader that stops at `MAX_DEPTH`. libyaml's composer is recursive C code, and deeper nesting crashes it."""

    depth = 0

    def descend_resolver(self, current_node: Node | None, current_index: object) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = current_node.start_mark if current_node else None
            raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=mark)

    def ascend_resolver(self) -> None:
        self.depth -= 1


class _Builder:
    """Turns nodes into values, and collects lines, problems and unset variables of the document."""

    def __init__(self, document: YamlDocument, environ: Mapping[str, str], numbers: Sequence[int]) -> None:
        self._document = document
        self._environ = environ
        self._numbers = numbers
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._aliased = 0

    def value(self, node: Node, place: Place, *, verbatim: bool) -> object:
        """Return the value of a node. `verbatim`: do not replace variables."""
        self._document.lines.setdefault(place, self._line_of(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node, place, verbatim=verbatim)
        self._enter(node)
        value = self._collection(node, place, verbatim=verbatim)
        self._open.remove(id(node))
        return value

    def _enter(self, node: Node) -> None:
        """Limit what aliases can do: a node inside itself, endless depth, exponential growth."""
        if id(node) in self._seen:
            self._aliased += 1 + len(node.value)
        self._seen.add(id(node))
        reason = None
        if id(node) in self._open:
            reason = "an alias is inside the value that it names"
        elif len(self._open) >= MAX_DEPTH:
            reason = TOO_DEEP
        elif self._aliased > MAX_ALIASED:
            reason = f"aliases repeat more than {MAX_ALIASED} values"
        if reason:
            raise yaml.MarkedYAMLError(problem=reason, problem_mark=node.start_mark)
        self._open.add(id(node))

    def _collection(self, node: Node, place: Place, *, verbatim: bool) -> object:
        if isinstance(node, MappingNode) and node.tag == TAG + "map":
            entries = self._entries(node, place)
            return {
                key: self.value(child, (*place, key), verbatim=verbatim or key in VERBATIM)
                for key, child in entries.items()
            }
        if isinstance(node, SequenceNode) and node.tag == TAG + "seq":
            return [self.value(child, (*place, i), verbatim=verbatim) for i, child in enumerate(node.value)]
        self._report(place, f"got the tag `{_tag(node)}`, expected plain YAML")
        return None

    def _entries(self, node: MappingNode, place: Place) -> dict[str, Node]:
        """Return the values of a mapping. Its own keys override those of `<<`."""
        own: dict[str, Node] = {}
        inherited: dict[str, Node] = {}
        for key_node, child in node.value:
            if key_node.tag == MERGE:
                for key, value in self._inherited(child, place).items():
                    inherited.setdefault(key, value)
                continue
            key = self._key(key_node, place)
            line = self._line_of(key_node)
            if key in own:
                self._report((*place, key), f"key `{key}` given twice, first at line {self._line((*place, key))}", line)
                continue
            own[key] = child
            self._document.lines[(*place, key)] = line
        return inherited | own

    def _inherited(self, node: Node, place: Place) -> dict[str, Node]:
        """Return the values that `<<: *a` or `<<: [*a, *b]` brings. The first of the list wins."""
        entries: dict[str, Node] = {}
        for base in node.value if isinstance(node, SequenceNode) else [node]:
            if isinstance(base, MappingNode):
                self._enter(base)
                entries = self._entries(base, place) | entries
                self._open.remove(id(base))
            else:
                self._report((*place, "<<"), "expected a mapping, or a list of mappings", self._line_of(base))
        return entries

    def _key(self, node: Node, place: Place) -> str:
        if not isinstance(node, ScalarNode):
            self._report(place, "got a list or a mapping as a key, expected a string", self._line_of(node))
            return ""
        if node.tag not in STRINGS:
            message = f"got the key {got(self._construct(node, place))}, expected a string (quote it)"
            self._report((*place, node.value), message, self._line_of(node))
        return str(node.value)

    def _scalar(self, node: ScalarNode, place: Place, *, verbatim: bool) -> object:
        if node.tag not in STRINGS:
            return self._construct(node, place)
        text: str = node.value
        if verbatim or "${" not in text:
            return text
        text = self._expand(text, place)
        # the variable counts as if its value stood in the file: `threshold: ${T}` is a number, a provider's field a
        # string
        if node.style or (place[:1] == ("providers",) and place[2:3] != ("limits",)):
            return text
        tag = _plain_tag(text)
        plain = ScalarNode(tag, text, node.start_mark, node.end_mark)
        return text if tag in STRINGS else self._construct(plain, place)

    def _construct(self, node: ScalarNode, place: Place) -> object:
        """Construct a number, a date, a boolean or None. Also return None if the node is none of these."""
        construct = _SCALARS.get(node.tag)
        if construct is None or _plain_tag(node.value) != node.tag:
            self._report(place, f"got the tag `{_tag(node)}`, expected plain YAML")
            return None
        try:
            value = construct(node)
        except (ValueError, OverflowError):
            self._report(place, f"got {got(node.value)}, expected {_MEANT[node.tag]}")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._report(place, f"got {node.value}, expected a finite number")
        if _reads_otherwise(str(node.value), value):
            self._document.rewritten[place] = Rewritten(str(node.value), got(value))
        return value

    def _expand(self, text: str, place: Place) -> str:
        """Replace the variables in a text. Empty: one of them is not set."""
        unset: list[str] = []

        def replace(match: re.Match[str]) -> str:
            name = match["name"]
            if match["escape"]:
                return match[0][1:]
            if name is None:
                expected = "`${NAME}` or `${NAME:-default}` (`$${` stands for a plain `${`)"
                self._report(place, f"got {got(text)}, expected {expected}")
                return ""
            value = self._environ.get(name) or match["default"]
            if value is None:
                unset.append(name)
            return value or ""

        expanded = VARIABLE.sub(replace, text)
        for name in unset:
            if len(place) > 2 and place[0] == "providers" and place[2] != "dialect":
                self._document.unset.append(Unset(place, name))
            else:
                message = f"the environment variable `{name}` is not set, and `${{{name}:-default}}` gives no default"
                self._report(place, message)
        return "" if unset else expanded

    def _line(self, place: Place) -> int:
        return self._document.lines[place]

    def _line_of(self, node: Node) -> int:
        return self._numbers[node.start_mark.line]

    def _report(self, place: Place, message: str, line: int | None = None) -> None:
        """Record a problem, unless the place has one already: others would only follow from the first."""
        problem = self._document.problem(place, message)
        if line is not None:
            problem = Problem(file=problem.file, line=line, path=problem.path, message=message)
        self._document.problems.setdefault(place, problem)


def _reads_otherwise(text: str, value: object) -> bool:
    """Return whether YAML reads a text as a value that people would write differently."""
    if isinstance(value, bool):
        return text.lower() not in ("true", "false")
    if isinstance(value, int):
        return _PLAIN_INT.fullmatch(text) is None
    if isinstance(value, float):
        return text.lstrip("+") != repr(value)
    return False


def _plain_tag(text: str) -> str:
    """Return the tag that YAML gives to an unquoted text."""
    return str(_resolver.resolve(ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]  # the stub's gap


def _tag(node: Node) -> str:
    return str(node.tag).replace(TAG, "!!")
