"""Decide logged requests anew, with the Router's own sequence of steps.

Each row is decided from the best that the log has of it: its text, its features, or only the vector of its ask.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from semroute.decision import Decision, Signals
from semroute.errors import RequestError, UnknownModelError, UnknownRouteError
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.logged_facts import Missing, facts_of_features, facts_of_text, guessed_facts, request_of
from semroute.messages import ChatRequest
from semroute.record import RequestFeatures
from semroute.router import DecisionInputs, Router
from semroute.routing.ask import Ask
from semroute.routing.decide import Choice
from semroute.routing.difficulty import Reading
from semroute.routing.facts import Facts
from semroute.routing.fixed_thresholds import Fixed, with_thresholds
from semroute.routing.rule_matching import digest
from semroute.routing.sticky import Remembered, stick
from semroute.semantic.embedder import Features

Basis = Literal["text", "features", "vector", "nothing matched"]
"""What a row is decided from. `nothing matched`: it needed no embedding, as by a rule or for a pinned model."""
SESSION, GAINS, PIECES = "the conversation", "the learned gains", "the word pieces of the ask"
LEARNED = "the learned quality of the models"
OTHER_ENCODER = "their vectors are of another encoder, and their text is not kept"
GONE = "they ask for a model or a route that does not exist now"


class Again(NamedTuple):
    """A row that was decided anew."""

    row: LoggedDecision
    decision: Decision | None
    """None: it cannot be decided."""
    basis: Basis | None
    missing: frozenset[str]
    """What was guessed. Empty: the decision is exactly the one that the service would make."""
    why_not: str = ""
    """Why the row cannot be decided, without names of single rows."""


class _Source(NamedTuple):
    """What one row is decided from."""

    row: LoggedDecision
    basis: Basis
    request: ChatRequest
    facts: Facts
    ask: Ask | None
    """What must be embedded. None: `features` has it, or nothing has to be."""
    features: Features | None
    missing: Missing


class Decider:
    """Decides rows with one Router."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self._rules = router.config.rules
        self._digests = {rule.name: digest(rule.when) for rule in self._rules}

    def decide(self, rows: Sequence[LoggedDecision]) -> list[Again]:
        """Decide rows from the best that the log has. Their texts are embedded together."""
        return [again(self.router) for again in self.decidable(rows)]

    def decidable(self, rows: Sequence[LoggedDecision]) -> list[Decidable]:
        """Prepare rows, so that each can be decided with several routers. Their texts are embedded together."""
        sources = [self._source(row) for row in rows]
        asks = [source.ask for source in sources if isinstance(source, _Source) and source.ask is not None]
        readings = iter(self.router.read(asks) if asks else [])
        found: list[Decidable] = []
        for source in sources:
            if isinstance(source, Again):
                found.append(Decidable(source, Reading()))
            else:
                found.append(Decidable(source, next(readings) if source.ask is not None else self._reading(source)))
        return found

    def has_vector(self, row: LoggedDecision) -> bool:
        """Return whether the log has a vector of the row's ask that this encoder made."""
        return bool(row.embedding) and not self._foreign(row)

    def by_vector(self, row: LoggedDecision) -> Decision | None:
        """Decide a row as if the log had only the vector of its ask. None: it has none that this encoder made."""
        if row.vector is None or self._foreign(row):
            return None
        source = self._of_vector(row)
        return Decidable(source, self._reading(source))(self.router).decision

    def _source(self, row: LoggedDecision) -> _Source | Again:
        kept, text = row.features, None if row.redacted else row.text
        own = kept is not None and kept.encoder == self.router.embedder.fingerprint
        if kept is not None and kept.matched:
            return self._of_features(row, kept, "text", Ask(text="\n".join(kept.matched), matched=kept.matched), None)
        if kept is not None and kept.asks and own:
            return self._of_features(row, kept, "features", None, _features(kept))
        if kept is not None and not kept.has_text:
            return self._of_features(row, kept, "nothing matched", None, None)
        if text is not None:
            return self._of_text(row, text)
        if kept is not None and row.decision.reason in ("rule", "pinned") and not kept.asks:
            return self._of_features(row, kept, "nothing matched", None, None)
        if kept is not None and not own:
            return Again(row, None, None, frozenset(), OTHER_ENCODER)
        if row.decision.reason in ("rule", "pinned") and row.vector is None:
            return self._of_nothing(row)
        if row.vector is None:
            return Again(row, None, None, frozenset(), "neither text nor vector is kept")
        if self._foreign(row):
            return Again(row, None, None, frozenset(), OTHER_ENCODER)
        return self._of_vector(row)

    def _foreign(self, row: LoggedDecision) -> bool:
        """Return whether another encoder made the vector of a row. Old rows do not say which one did."""
        embedder = self.router.embedder
        other = bool(row.encoder) and row.encoder != embedder.fingerprint
        return other or (bool(row.embedding) and len(row.embedding or ()) != embedder.dim)

    def _of_features(
        self, row: LoggedDecision, kept: RequestFeatures, basis: Basis, ask: Ask | None, features: Features | None
    ) -> _Source:
        missing: Missing = set()
        facts = facts_of_features(row, kept, self._digests, missing)
        return _Source(row, basis, request_of(row, session=kept.session), facts, ask, features, missing)

    def _of_text(self, row: LoggedDecision, text: str) -> _Source:
        missing: Missing = set()
        request = request_of(row, text=text, session=row.decision.reason == "sticky")
        facts = facts_of_text(row, self.router.read_facts(request), self._rules, missing)
        return _Source(row, "text", request, facts, facts.ask, None, missing)

    def _of_vector(self, row: LoggedDecision) -> _Source:
        assert row.vector is not None
        missing: Missing = {PIECES}
        request = request_of(row, session=row.decision.reason == "sticky")
        features = Features(row.vector[None], [[]])
        return _Source(row, "vector", request, guessed_facts(row, self._rules, missing), None, features, missing)

    def _of_nothing(self, row: LoggedDecision) -> _Source:
        missing: Missing = {"the facts that rules read"} if row.decision.reason == "rule" else set()
        facts = guessed_facts(row, self._rules, missing)
        return _Source(row, "nothing matched", request_of(row), facts, None, None, missing)

    def _reading(self, source: _Source) -> Reading:
        if source.features is None:
            return Reading()
        [reading] = self.router.read_features(source.features, [len(source.features.tokens)])
        kept, gain = source.row.features, self.router.gain
        if gain is None:
            return reading
        if kept is None or kept.gain != gain.fingerprint:
            source.missing.add(GAINS)
            return reading
        return msgspec.structs.replace(reading, gains=kept.gains, parts=kept.parts)


class Decidable:
    """A logged row, with all that a decision about it needs."""

    def __init__(self, source: _Source | Again, reading: Reading) -> None:
        """`source`: an `Again` says that the row cannot be decided."""
        self._source, self._reading = source, reading

    @property
    def several(self) -> bool:
        """Return whether the row asks for several things at once."""
        return bool(self._reading.each)

    def __call__(self, router: Router, fixed: Mapping[str, Fixed] | None = None) -> Again:
        """Decide the row with the router that it was prepared with, or one `configured` from that.

        `fixed`: `fixed_by_name` of the router's configuration, if the thresholds of the routes differ.
        """
        source = self._source
        if isinstance(source, Again):
            return source
        row, reading = source.row, self._reading
        if fixed is not None:
            reading = with_thresholds(reading, router.config, fixed)
        inputs = _LoggedInputs(router, source, reading)
        try:
            decision = router.decide_with(inputs, source.request)
        except (UnknownModelError, UnknownRouteError):
            return Again(row, None, source.basis, frozenset(), GONE)
        except RequestError as error:
            return Again(row, None, source.basis, frozenset(), str(error))
        if inputs.read_nothing and source.basis == "nothing matched":
            return Again(row, None, None, frozenset(), "they must be matched now, and neither text nor vector is kept")
        return Again(row, decision, source.basis, frozenset(source.missing))


class _LoggedInputs(DecisionInputs):
    """The inputs of a decision as the log has them."""

    def __init__(self, router: Router, source: _Source, reading: Reading) -> None:
        kept, then = source.row.features, source.row.decision
        signals = kept.signals if kept is not None else Signals(thrift=then.thrift)
        super().__init__(router, signals, time.perf_counter(), source.facts, reading)
        self.read_nothing = False
        """Whether an embedding was needed that the log does not have."""
        self._missing = source.missing
        self._had = source.ask is not None or source.features is not None
        self._label = then.route if then.reason == "classifier" else None
        self._remembered: Remembered | None = None
        if kept is not None:
            self._label = kept.label
            self._remembered = None if kept.stays is None else Remembered(route=kept.stays[0], model=kept.stays[1])
        elif then.propensity is not None:
            self._missing.add(LEARNED)
        if kept is None and then.reason == "sticky":
            self._missing.add(SESSION)
            self._remembered = Remembered(route=then.route, model=then.model or "")

    async def reading(self, ask: Ask) -> Reading:
        """Return what the embedding says, and note if there is none."""
        self.read_nothing = not self._had
        return await super().reading(ask)

    async def classified(self, semantic: Choice, request: ChatRequest, facts: Facts, reading: Reading) -> Choice:
        """Return the choice of the label that the classifier gave then."""
        return semantic if self._label is None else self.router.choose_classified(self._label, semantic)

    async def continued(self, choice: Choice, facts: Facts) -> Choice:
        """Return the choice with what was remembered of the conversation then."""
        return stick(self.router.config, choice, self._remembered, facts)


def _features(kept: RequestFeatures) -> Features:
    vectors = np.stack([np.frombuffer(ask.vector, "<f4") for ask in kept.asks]).astype(np.float32)
    return Features(vectors, [list(ask.pieces) for ask in kept.asks])
