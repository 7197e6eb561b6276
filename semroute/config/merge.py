"""Documents -> one `Draft`: each entry is read on its own, so that a bad one hides no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, get_args, get_origin

import msgspec

from semroute.config.conditions import Compare
from semroute.config.documents import Document
from semroute.config.schema import Draft, RouteFile, Source
from semroute.config.validate import complaints, unknown_key
from semroute.config.wording import Place, render
from semroute.errors import Problem

SECTIONS = {field.encode_name: field.type for field in msgspec.structs.fields(RouteFile)}


BOUNDS = frozenset(field.encode_name for field in msgspec.structs.fields(Compare))
"""Of numbers: no text is meant there."""


class Entry(NamedTuple):
    """What may stand in one file only: a named thing, or a section without names such as `default`."""

    document: Document
    key: str
    """Its key in `Draft.sources`."""
    place: Place
    value: object
    type: object


def merge(folder: str, documents: Sequence[Document]) -> tuple[Draft, list[Problem]]:
    """All documents together, and what is wrong with their form. Their names may still lead nowhere."""
    problems: list[Problem] = []
    broken: set[str] = set()
    entries: dict[str, Entry] = {}
    for document in documents:
        problems += document.problems.values()
        misshapen = _misshapen(document)
        problems += [problem for section, problem in misshapen.items() if (section,) not in document.problems]
        broken |= misshapen.keys()
        for entry in _entries(document):
            first = entries.setdefault(entry.key, entry)
            if first is not entry:
                problems.append(_defined_twice(first, entry))
    sound, found = _sound(entries.values())
    draft = Draft(
        folder=folder,
        merged=_merged(sound),
        sources=_sources(documents, entries),
        rewritten=_rewritten(documents, entries),
        missing_variables=_missing_variables(documents),
        broken=frozenset(broken | entries.keys() - {entry.key for entry in sound}),
    )
    return draft, problems + found


def _misshapen(document: Document) -> dict[str, Problem]:
    """What is wrong at the top of a file, by key: unknown keys, and mappings or lists that are none."""
    problems = {}
    for section, value in document.value.items():
        if section not in SECTIONS:
            place, message = unknown_key(section, SECTIONS, ())
        elif _is_collection(section) and not isinstance(value, _container(section)):
            [(place, message)] = complaints(value, SECTIONS[section], (section,))
        else:
            continue
        problems[section] = document.problem(place, message)
    return problems


def _is_collection(section: str) -> bool:
    return get_origin(SECTIONS[section]) in (dict, tuple)


def _container(section: str) -> type:
    return dict if get_origin(SECTIONS[section]) is dict else list


def _entries(document: Document) -> Iterator[Entry]:
    for section, value in document.value.items():
        if section not in SECTIONS:
            continue
        type_ = SECTIONS[section]
        if not _is_collection(section):
            yield Entry(document, section, (section,), value, type_)
        elif isinstance(value, dict) and get_origin(type_) is dict:
            for name, item in value.items():
                yield Entry(document, f"{section}.{name}", (section, name), item, get_args(type_)[1])
        elif isinstance(value, list) and get_origin(type_) is tuple:
            for index, item in enumerate(value):
                name = _name(item)
                key = f"{section}.{name}" if name else f"{document.file}:{section}[{index}]"
                yield Entry(document, key, (section, index), item, get_args(type_)[0])


def _name(item: object) -> str | None:
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else None


def _defined_twice(first: Entry, second: Entry) -> Problem:
    there = first.document.problem(first.place, "")
    message = f"`{second.key.partition('.')[2] or second.key}` is defined twice, first at {there.file}:{there.line}"
    return second.document.problem(second.place, message)


def _sound(entries: Iterable[Entry]) -> tuple[list[Entry], list[Problem]]:
    """The entries with nothing wrong in them, and what is wrong in the others beyond what their documents know."""
    sound: list[Entry] = []
    problems: list[Problem] = []
    for document, group in groupby(entries, key=lambda entry: entry.document):
        known = {place[:depth] for place in document.problems for depth in (1, 2)}
        for entry in group:
            found = complaints(entry.value, entry.type, entry.place)
            problems += [document.problem(*each) for each in found if each.place not in document.problems]
            if not found and entry.place not in known:
                sound.append(entry)
    return sound, problems


def _merged(entries: Sequence[Entry]) -> RouteFile:
    """One route file with all entries, each of which is sound."""
    single: dict[str, object] = {}
    named: dict[str, dict[str, object]] = {}
    listed: dict[str, list[object]] = {}
    for entry in entries:
        section, *step = entry.place
        match step:
            case []:
                single[str(section)] = entry.value
            case [str(name)]:
                named.setdefault(str(section), {})[name] = entry.value
            case _:
                listed.setdefault(str(section), []).append(entry.value)
    return msgspec.convert({**single, **named, **listed}, RouteFile)


def _sources(documents: Sequence[Document], entries: Mapping[str, Entry]) -> dict[str, Source]:
    """Where each entry stands, and each of its parts."""
    sources = {}
    keys = {(entry.document.file, entry.place): key for key, entry in entries.items()}
    for document in documents:
        for place, line in document.lines.items():
            if (key := _key_of(document, place, keys)) is not None:
                sources[key] = Source(file=document.file, line=line, path=render(place))
    return sources


def _key_of(document: Document, place: Place, keys: Mapping[tuple[str, Place], str]) -> str | None:
    head = place[:2] if (document.file, place[:2]) in keys else place[:1]
    if (document.file, head) not in keys:
        return None
    return keys[document.file, head] + render(place[len(head) :])[1:]


def _rewritten(documents: Sequence[Document], entries: Mapping[str, Entry]) -> dict[str, tuple[str, str]]:
    """What YAML reads as something else, where a text may be meant: values of metadata, and of a JSON Schema."""
    keys = {(entry.document.file, entry.place): key for key, entry in entries.items()}
    return {
        key: text
        for document in documents
        for place, text in document.rewritten.items()
        if _may_be_text(place) and (key := _key_of(document, place, keys)) is not None
    }


def _may_be_text(place: Place) -> bool:
    if "metadata" in place[2:]:
        return place[-1] not in BOUNDS
    return "json_schema" in place and not {"enum", "const", "default", "examples"}.isdisjoint(place)


def _missing_variables(documents: Sequence[Document]) -> dict[str, tuple[str, ...]]:
    missing: dict[str, dict[str, None]] = {}
    for document in documents:
        for unset in document.unset:
            missing.setdefault(str(unset.place[1]), {})[unset.variable] = None
    return {provider: tuple(variables) for provider, variables in missing.items()}
