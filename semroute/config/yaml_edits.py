"""Set numbers in the text of a YAML file. All else stays as people wrote it: comments, order and line breaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from semroute.config.error_wording import Place, render
from semroute.config.yaml_documents import MERGE, compose


class Edit(NamedTuple):
    """One number to set."""

    place: Place
    """Where: keys and indexes from the top. All but the last key exist."""
    value: str
    """The number, as YAML writes it."""
    after: tuple[str, ...] = ()
    """If the last key does not exist yet: it comes after the last of these that does."""


class UneditableError(Exception):
    """A value cannot be set without a change elsewhere. The message says why, without the file's name."""


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with the numbers set.

    Raises `UneditableError` if one of them comes from an alias, `<<` or a variable.
    """
    root = compose(text)
    shared = _shared(root)
    pieces: list[tuple[int, int, int, str]] = []
    for number, edit in enumerate(edits):
        mapping = _mapping(root, edit.place[:-1], shared)
        start, end, new = _piece(text, mapping, edit)
        pieces.append((start, end, number, new))
    for start, end, _, new in sorted(pieces, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _piece(text: str, mapping: MappingNode, edit: Edit) -> tuple[int, int, str]:
    """Return what is replaced, from where to where, and by what."""
    values = {key.value: value for key, value in mapping.value if isinstance(key, ScalarNode) and key.tag != MERGE}
    name = edit.place[-1]
    old = values.get(name)
    if old is not None:
        written = text[old.start_mark.index : old.end_mark.index]
        if not isinstance(old, ScalarNode) or written.startswith(("*", "&")) or "${" in written:
            raise UneditableError(f"{render(edit.place)} is written as `{written}`")
        return old.start_mark.index, old.end_mark.index, edit.value
    before = [values[key] for key in edit.after if key in values]
    if not before:
        raise UneditableError(f"{render(edit.place)} has no place: it comes from elsewhere in the file")
    last = max(before, key=lambda node: node.end_mark.index)
    if mapping.flow_style:
        return last.end_mark.index, last.end_mark.index, f", {name}: {edit.value}"
    column = mapping.value[0][0].start_mark.column
    end = text.find("\n", last.end_mark.index)
    end = len(text) if end < 0 else end
    line_break = "\r\n" if text[:end].endswith("\r") else "\n"
    end -= len(line_break) - 1
    return end, end, f"{line_break}{' ' * column}{name}: {edit.value}"


def _mapping(node: Node | None, place: Place, shared: Mapping[int, Node]) -> MappingNode:
    for number, step in enumerate(place):
        child = _child(node, step)
        if child is None or id(child) in shared:
            raise UneditableError(f"{render(place[: number + 1])} comes from an alias or `<<`")
        node = child
    if not isinstance(node, MappingNode):
        raise UneditableError(f"{render(place)} is no mapping")
    return node


def _child(node: Node | None, step: str | int) -> Node | None:
    if isinstance(node, SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    if isinstance(node, MappingNode):
        return next((value for key, value in node.value if key.value == step and key.tag != MERGE), None)
    return None


def _shared(root: Node | None) -> dict[int, Node]:
    """Return the nodes that several places of the file name, by their identity."""
    seen: set[int] = set()
    shared: dict[int, Node] = {}
    waiting = [root] if root is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            if not isinstance(node, ScalarNode):
                shared[id(node)] = node
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            waiting += [each for pair in node.value for each in pair]
        elif isinstance(node, SequenceNode):
            waiting += node.value
    return shared
