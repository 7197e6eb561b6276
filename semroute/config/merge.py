"""Merge documents into one `Draft`. Each entry is read on its own, so that a bad one hides no other.

Wrong parts of an entry are left out, so that the rest of it is checked as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, get_args, get_origin

import msgspec

from semroute.config.config import Draft, WrittenAt
from semroute.config.error_wording import Place, render
from semroute.config.partial_entries import salvage
from semroute.config.schema.route_file import RouteFile
from semroute.config.schema.rules import Compare
from semroute.config.validate import complaints, unknown_key
from semroute.config.yaml_documents import YamlDocument
from semroute.errors import Problem

SECTIONS = {field.encode_name: field.type for field in msgspec.structs.fields(RouteFile)}


BOUNDS = frozenset(field.encode_name for field in msgspec.structs.fields(Compare))
"""Keys of comparisons. Their values are numbers, so no text can be meant there."""


class UniqueEntry(NamedTuple):
    """A thing that only one file may define: one with a name, or a section without names such as `default`."""

    document: YamlDocument
    key: str
    """Its key in `Draft.sources`."""
    place: Place
    value: object
    type: object


def merge(folder: str, documents: Sequence[YamlDocument], *, whole: bool = True) -> tuple[Draft, list[Problem]]:
    """Merge all documents, and find what is wrong with their form. Names are not looked up yet.

    `whole`: whether these are all files of the folder, and every one of them could be read.
    """
    problems: list[Problem] = []
    broken: set[str] = set()
    entries: dict[str, UniqueEntry] = {}
    for document in documents:
        problems += document.problems.values()
        misshapen = _misshapen(document)
        problems += [problem for section, problem in misshapen.items() if (section,) not in document.problems]
        broken |= misshapen.keys()
        for entry in _entries(document):
            first = entries.setdefault(entry.key, entry)
            if first is not entry:
                problems.append(_defined_twice(first, entry))
    readable, found = _readable(entries.values())
    if not whole or not all(
        document.readable for document in documents
    ):  # an unreadable part may hold the missing names
        broken |= SECTIONS.keys()
    draft = Draft(
        folder=folder,
        merged=_merged(readable),
        sources=_sources(documents, entries),
        rewritten=_rewritten(documents, entries),
        missing_variables=_missing_variables(documents),
        broken=frozenset(broken | entries.keys() - {one.entry.key for one in readable if one.missing is None}),
        missing=frozenset(key for one in readable for key in _missing(one)),
    )
    return draft, problems + found


def _misshapen(document: YamlDocument) -> dict[str, Problem]:
    """Return the problems at the top of a file, by key: unknown keys, and values that are not the mapping or list
    expected.
    """
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


def _entries(document: YamlDocument) -> Iterator[UniqueEntry]:
    for section, value in document.value.items():
        if section not in SECTIONS:
            continue
        type_ = SECTIONS[section]
        if not _is_collection(section):
            yield UniqueEntry(document, section, (section,), value, type_)
        elif isinstance(value, dict) and get_origin(type_) is dict:
            for name, item in value.items():
                yield UniqueEntry(document, f"{section}.{name}", (section, name), item, get_args(type_)[1])
        elif isinstance(value, list) and get_origin(type_) is tuple:
            for index, item in enumerate(value):
                name = _name(item)
                key = f"{section}.{name}" if name else f"{document.file}:{section}[{index}]"
                yield UniqueEntry(document, key, (section, index), item, get_args(type_)[0])


def _name(item: object) -> str | None:
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else None


def _defined_twice(first: UniqueEntry, second: UniqueEntry) -> Problem:
    there = first.document.problem(first.place, "")
    message = f"`{second.key.partition('.')[2] or second.key}` is defined twice, first at {there.file}:{there.line}"
    return second.document.problem(second.place, message)


class Readable(NamedTuple):
    """An entry that can be checked."""

    entry: UniqueEntry
    value: object
    missing: frozenset[Place] | None
    """The wrong parts that were left out, as places within the entry. None: nothing is wrong in it."""


def _readable(entries: Iterable[UniqueEntry]) -> tuple[list[Readable], list[Problem]]:
    """Return the readable parts of the entries, and the problems in them that their documents do not hold yet."""
    readable: list[Readable] = []
    problems: list[Problem] = []
    for document, group in groupby(entries, key=lambda entry: entry.document):
        for entry in group:
            depth = len(entry.place)
            wrong = [place[depth:] for place in document.problems if place[:depth] == entry.place]
            above = any(place == entry.place[: len(place)] for place in document.problems if len(place) < depth)
            found = complaints(entry.value, entry.type, entry.place)
            problems += [document.problem(*each) for each in found if each.place not in document.problems]
            if not found and not wrong and not above:
                readable.append(Readable(entry, msgspec.convert(entry.value, entry.type), None))
            elif (rest := salvage(entry.value, entry.type, wrong)) is not None:
                readable.append(Readable(entry, rest.value, rest.missing))
    return readable, problems


def _missing(one: Readable) -> Iterator[str]:
    """Yield the keys, as in `Draft.sources`, of what was left out of an entry."""
    return (one.entry.key + render(place)[1:] for place in one.missing or ())


def _merged(entries: Sequence[Readable]) -> RouteFile:
    """Return one route file with all entries."""
    fields: dict[str, Any] = {}
    for entry, value, _ in entries:
        section, *step = entry.place
        match step:
            case []:
                fields[str(section)] = value
            case [str(name)]:
                fields.setdefault(str(section), {})[name] = value
            case _:
                fields[str(section)] = (*fields.get(str(section), ()), value)
    return RouteFile(**fields)


def _sources(documents: Sequence[YamlDocument], entries: Mapping[str, UniqueEntry]) -> dict[str, WrittenAt]:
    """Return the place of each entry and of each of its parts."""
    sources = {}
    keys = {(entry.document.file, entry.place): key for key, entry in entries.items()}
    for document in documents:
        for place, line in document.lines.items():
            if (key := _key_of(document, place, keys)) is not None:
                sources[key] = WrittenAt(file=document.file, line=line, path=render(place))
    return sources


def _key_of(document: YamlDocument, place: Place, keys: Mapping[tuple[str, Place], str]) -> str | None:
    head = place[:2] if (document.file, place[:2]) in keys else place[:1]
    if (document.file, head) not in keys:
        return None
    return keys[document.file, head] + render(place[len(head) :])[1:]


def _rewritten(documents: Sequence[YamlDocument], entries: Mapping[str, UniqueEntry]) -> dict[str, tuple[str, str]]:
    """Return values that YAML reads as something else where text may be meant: in metadata, and in a JSON Schema."""
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


def _missing_variables(documents: Sequence[YamlDocument]) -> dict[str, tuple[str, ...]]:
    missing: dict[str, dict[str, None]] = {}
    for document in documents:
        for unset in document.unset:
            missing.setdefault(str(unset.place[1]), {})[unset.variable] = None
    return {provider: tuple(variables) for provider, variables in missing.items()}
