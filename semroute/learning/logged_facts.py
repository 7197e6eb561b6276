"""Facts of logged requests, so that the Router can decide them anew.

What the log does not have is asked for all the same: by a rule that searches the prompt, say. Then the answer is a
guess, and `Missing` notes what was guessed. A row without a guess is decided exactly as it would be now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from semroute.config.schema.models import Feature
from semroute.config.schema.rules import LookAt, Rule
from semroute.learning.logged_decisions import LoggedDecision
from semroute.messages import ChatRequest, Message, Text
from semroute.record import RequestFeatures
from semroute.routing.ask import Ask
from semroute.routing.difficulty import WEIGHTS
from semroute.routing.english_check import foreign
from semroute.routing.facts import Facts

Missing = set[str]
"""What was guessed for one row."""
WORDS, SYSTEM, LANGUAGE = "the words of the prompt", "the system prompt", "the language of the prompt"
METADATA, HEADERS = "a key of the metadata", "a header"
_TEXT = "?"
"""Stands for a text that is not known. Only whether it is empty counts."""


class LoggedFacts(Facts, frozen=True, kw_only=True, dict=True):
    """Facts without the text."""

    missing: Missing
    has_text: bool = True
    known_texts: tuple[str, str] | None = None
    """The ask and the last turn. None: they are not known."""
    is_foreign: bool = False
    known_nearest: str = ""
    """The utterance for which `is_foreign` was found."""

    @property
    def text(self) -> str:
        """Stand for the ask."""
        return _TEXT if self.has_text else ""

    @property
    def system(self) -> str:
        """Note that the system prompt is not known."""
        self.missing.add(SYSTEM)
        return ""

    def searched(self, look_at: LookAt) -> str:
        """Return the text, or note that it is not known."""
        if self.known_texts is not None:
            return self.known_texts[look_at == "prompt"]
        self.missing.add(WORDS)
        return ""

    def foreign_to(self, utterance: str) -> bool:
        """Return whether the last turn is foreign. Without the text, what was found for the nearest utterance then."""
        if self.known_texts is not None and self.turns == 1:
            return foreign(self.known_texts[0], utterance)
        if self.is_foreign and utterance != self.known_nearest:
            self.missing.add(LANGUAGE)
        return self.is_foreign


class _Noting(dict[str, Any]):
    """Values by key. It notes when a key is asked for that the log does not have."""

    def __init__(self, known: Mapping[str, Any], missing: Missing, what: str) -> None:
        super().__init__(known)
        self._missing, self._what = missing, what

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or note that it is not known."""
        if key not in self:
            self._missing.add(self._what)
        return super().get(key, default)


def facts_of_features(
    row: LoggedDecision, kept: RequestFeatures, digests: Mapping[str, str], missing: Missing
) -> LoggedFacts:
    """Return the facts that `log.features` kept. `digests`: of the conditions of each rule, by the rule's name."""
    nearest = next((one.nearest for one in row.decision.candidates if one.nearest), None)
    turn = row.text if kept.turn is None else kept.turn
    texts = (turn if kept.ask is None else kept.ask, turn) if turn else None
    facts = LoggedFacts(
        ask=_ask(kept.has_text),
        prompt=_TEXT if kept.has_text else "",
        last_turn=_TEXT,
        input_tokens=kept.input_tokens,
        max_tokens=kept.max_tokens,
        needs=cast("tuple[Feature, ...]", kept.needs),
        metadata=_Noting(kept.metadata, missing, METADATA),
        headers=_Noting(kept.headers, missing, HEADERS),
        turns=kept.turns,
        json_schema=kept.json_schema,
        cost_quality=kept.cost_quality,
        verdicts={name: kept.verdicts[digest] for name, digest in digests.items() if digest in kept.verdicts},
        known_complexity=kept.complexity,
        missing=missing,
        has_text=kept.has_text,
        known_texts=texts,
        is_foreign=kept.foreign,
        known_nearest=nearest.utterance if nearest is not None else "",
    )
    facts.__dict__.update(
        traits=frozenset(kept.traits),
        prompt_tokens=kept.prompt_tokens,
        last_turn_tokens=kept.last_turn_tokens,
        harness=kept.harness,
        script=kept.script,
        language=kept.language,
    )
    return facts


def facts_of_text(row: LoggedDecision, facts: Facts, rules: Iterable[Rule], missing: Missing) -> Facts:
    """Return the facts of a prompt whose text was kept. The metadata and the headers are not known."""
    return msgspec.structs.replace(
        facts,
        metadata=_Noting({}, missing, METADATA),
        headers=_Noting({}, missing, HEADERS),
        cost_quality=row.decision.cost_quality,
        verdicts={name: True for name in _named(row, rules)},
    )


def guessed_facts(row: LoggedDecision, rules: Iterable[Rule], missing: Missing) -> LoggedFacts:
    """Return facts as far as the logged decision shows them. A rule holds if the decision names it."""
    decision = row.decision
    tokens = decision.estimate.input_tokens if decision.estimate is not None else row.input_tokens
    named = _named(row, rules)
    facts = LoggedFacts(
        ask=_ask(has_text=True),
        prompt=_TEXT,
        last_turn=_TEXT,
        input_tokens=tokens,
        max_tokens=None,
        needs=(),
        metadata={},
        cost_quality=decision.cost_quality,
        verdicts={rule.name: rule.name in named for rule in rules},
        known_complexity={name: part for name, part in decision.contributions.items() if name in WEIGHTS},
        missing=missing,
    )
    facts.__dict__.update(
        traits=frozenset(), prompt_tokens=tokens, last_turn_tokens=tokens, harness=None, script=None, language=None
    )
    return facts


def request_of(row: LoggedDecision, *, text: str | None = None, session: bool = False) -> ChatRequest:
    """Return a request that stands for the logged one."""
    kept, decision = row.features, row.decision
    model, models = "auto", tuple[str, ...]()
    if kept is not None:
        model, models = kept.model, kept.models
    elif decision.reason == "pinned":
        model, models = (f"auto:{decision.route}", ()) if decision.route else ("auto", decision.plan)
    return ChatRequest(
        id=row.id,
        messages=() if text is None else (Message(role="user", parts=(Text(text=text),)),),
        model=model,
        models=models,
        session="logged" if session else "",
        cost_quality=decision.cost_quality if kept is None else kept.cost_quality,
    )


def _named(row: LoggedDecision, rules: Iterable[Rule]) -> set[str]:
    return {rule.name for rule in rules} & {row.decision.rule or "", *row.decision.narrowed_by}


def _ask(has_text: bool) -> Ask:
    return Ask(text=_TEXT if has_text else "", matched=(_TEXT,) if has_text else ())
