"""The record of one request: its attempts, its outcome and its cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from semroute.bases import Frozen
from semroute.caller import Caller
from semroute.decision import Decision, Signals
from semroute.messages import Usage, total

Outcome = Literal["running", "ok", "failed", "cancelled", "decided", "refused"]
"""How a request ended. `decided`: only the decision was asked for. `refused`: a budget or a limit had no room for
it."""


class Attempt(Frozen, frozen=True, kw_only=True):
    """One call to one model."""

    model: str
    status: Outcome
    latency_ms: float
    """From the request to the last byte read."""
    first_token_ms: float | None = None
    """From the request to the first content. None: it was not a stream."""
    error_code: str | None = None
    error: str | None = None
    escalated: str | None = None
    """Why its answer was not good enough, so that another model was tried. None: it was good enough, or it was not
    checked."""
    ungraded: str | None = None
    """Why a check of its answer could not be made, such as by a judge that is down. None: all were made."""
    grades: dict[str, float] = {}
    """What checks of a cascade measured of its answer: `judge`, `certainty`, `logprob`. A check that was not made is
    missing."""
    purpose: Literal["answer", "judge", "classifier", "shadow"] = "answer"
    """Why it was called."""
    served_anyway: bool = False
    """Its answer was served although it failed a check, because it was the best of those that failed."""
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    dropped: tuple[str, ...] = ()
    """What the request asked for, but the model's dialect cannot express."""


class AskFeatures(Frozen, frozen=True, kw_only=True):
    """What one ask is matched by."""

    vector: bytes
    """float32, little-endian, L2-normalised."""
    pieces: tuple[int, ...]
    """The ids of its word pieces, in order. The encoder's vocabulary turns them back into words."""


class RequestFeatures(Frozen, frozen=True, kw_only=True):
    """All that a decision was made from, so that `semroute replay` can decide it anew.

    With `log.features` it holds `asks`, with `log.content: full` the texts `matched`, `ask` and `turn`. The fields that
    are not explained here are those of `Facts` and `ChatRequest`.
    """

    encoder: str
    """The fingerprint of the encoder that made the vectors."""
    asks: tuple[AskFeatures, ...] = ()
    """Empty: the request was not embedded, or this is not kept."""
    matched: tuple[str, ...] = ()
    """The texts of the asks that are matched. Empty: there are none, or they are not kept."""
    ask: str | None = None
    """The ask. None: it is the same as `turn`."""
    turn: str | None = None
    """The last turn of the user. None: it is the same as the prompt of the record. Empty: it is not kept."""
    model: str = "auto"
    models: tuple[str, ...] = ()
    has_text: bool = True
    input_tokens: int = 0
    max_tokens: int | None = None
    prompt_tokens: int = 0
    last_turn_tokens: int = 0
    turns: int = 1
    needs: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    json_schema: bool = False
    cost_quality: float | None = None
    harness: str | None = None
    script: str | None = None
    language: str | None = None
    foreign: bool = False
    """Whether the last turn is in a language that the encoder does not read."""
    metadata: dict[str, Any] = {}
    """The values under the keys that rules read; None where the request had none."""
    headers: dict[str, Any] = {}
    """As `metadata`."""
    verdicts: dict[str, bool] = {}
    """Whether each rule held, by a digest of its conditions."""
    complexity: dict[str, float] = {}
    """The parts of the prompt's complexity."""
    gain: str = ""
    """The fingerprint of what `semroute train` learned, if it was used for the next two fields."""
    gains: dict[str, float] = {}
    parts: dict[str, dict[str, float]] = {}
    session: bool = False
    """Whether the request was part of a conversation with a name."""
    stays: tuple[str | None, str] | None = None
    """The route and the model that the conversation was on. None: there was none."""
    label: str | None = None
    """What the classifier said. None: it was not asked, or did not answer."""
    signals: Signals = Signals()


Content = Literal["none", "hash", "redacted", "full"]


class Record(Frozen, frozen=True, kw_only=True):
    """The account of one request."""

    request_id: str
    decision: Decision
    attempts: tuple[Attempt, ...]
    outcome: Outcome
    overhead_ms: float
    """Time spent in semroute itself, outside the provider."""
    at: float = 0.0
    """When the request came, in seconds since 1970."""
    latency_ms: float = 0.0
    """From the request to the end of the answer."""
    caller: Caller = Caller()
    tier: str = ""
    """The tier of `model`."""
    feature: str = ""
    """The part of the caller's product, as the request's `metadata.feature` names it."""
    unit: str = ""
    """Who asked: `u`, `s` or `k` and a digest of the user, else of the conversation, else of the key. Empty: not known.

    Experiments assign units to arms, and estimates draw whole units.
    """
    experiment: str = ""
    """The experiment that the request was part of. Empty: none."""
    arm: str = ""
    """Its arm in that experiment."""
    saved_usd: Decimal = Decimal(0)
    """What the baseline model would have cost for the same tokens, less `cost_usd`. 0: the request was not answered."""
    error: str | None = None
    """The last error of a request that failed. None: it did not fail."""
    embedding: bytes = b""
    """The vector of the matched text: float16, little-endian. Empty: nothing was matched."""
    encoder: str = ""
    """The fingerprint of the encoder that made the vector. Empty: there is no vector."""
    scores: bytes = b""
    """The confidence of every route, in the order of the route files: float16, little-endian."""
    routes: tuple[str, ...] = ()
    """The names that `scores` belong to."""
    features: bytes = b""
    """A `RequestFeatures` as msgpack. Empty: the log does not keep it."""
    content: Content = "none"
    """Whether the log may keep prompt and answer, the next two fields."""
    prompt: str | None = None
    answer: str | None = None

    @property
    def ended(self) -> float:
        """Return when the answer ended, in seconds since 1970, rounded as in the decision log."""
        return self.at + round(self.latency_ms, 3) / 1000

    @property
    def model(self) -> str | None:
        """Return the model that answered, or the last that was tried."""
        return made.model if (made := self._served) else None

    @property
    def cost_usd(self) -> Decimal:
        """Return the cost of all attempts."""
        return cost_usd(self.attempts)

    @property
    def usage(self) -> Usage:
        """Return the usage of the answer that was served, or of the last attempt."""
        return made.usage if (made := self._served) else Usage()

    @property
    def total_usage(self) -> Usage:
        """Return the usage of all attempts together."""
        return total_usage(self.attempts)

    @property
    def first_token_ms(self) -> float | None:
        """Return the time from the call that answered to its first content. None: it was not a stream."""
        return made.first_token_ms if (made := self._served) else None

    @property
    def dropped(self) -> tuple[str, ...]:
        """Return what the dialect of the model that answered cannot express."""
        return made.dropped if (made := self._served) else ()

    @property
    def _served(self) -> Attempt | None:
        return served(self.attempts)


TrialPurpose = Literal["judge", "shadow", "experiment"]


class Trial(Frozen, frozen=True, kw_only=True):
    """What was tried beside a request, only to learn from it. The caller neither waits for it nor sees it."""

    id: str
    """The id of the request and the purpose, such as `0194…:judge`."""
    decision: str
    """The id of the request."""
    at: float
    """When the trial ended, in seconds since 1970."""
    purpose: TrialPurpose
    route: str = ""
    """The route of the request. Empty: the default."""
    tier: str = ""
    """The tier of `served`."""
    unit: str = ""
    """See `Record.unit`; the next two fields likewise."""
    experiment: str = ""
    arm: str = ""
    served: str = ""
    """The model whose answer the caller got."""
    model: str = ""
    """The model that was tried beside it. Empty: only the served answer was graded."""
    judge: str = ""
    """The model that graded. Empty: none did."""
    method: str = ""
    """How the scores were found: `rubric`, `pairwise` or `agreement`. Empty: there are none."""
    verdict: Literal["", "served", "tried", "tie"] = ""
    """Which answer is better. Empty: they were not compared."""
    served_score: float | None = None
    """How good the served answer is, 0 to 1. Pairwise: 1 for the better answer, .5 for a tie. None: not graded."""
    score: float | None = None
    """How good the answer of `model` is, 0 to 1. None: not graded."""
    propensity: float = 1.0
    """The probability with which this request was drawn for the trial."""
    attempts: tuple[Attempt, ...] = ()
    """The calls of the trial. They are paid from its own budget."""
    detail: dict[str, Any] = {}
    """What else was found out, by name. It holds no text of prompts or answers."""
    error: str | None = None
    """Why the trial came to nothing. None: it did not fail."""

    @property
    def cost_usd(self) -> Decimal:
        """Return the cost of its calls."""
        return cost_usd(self.attempts)


def cost_usd(attempts: tuple[Attempt, ...]) -> Decimal:
    """Add up the cost of attempts."""
    if len(attempts) == 1:  # true for nearly all requests
        return attempts[0].cost_usd
    return sum((attempt.cost_usd for attempt in attempts), Decimal(0))


def total_usage(attempts: tuple[Attempt, ...]) -> Usage:
    """Add up the usage of attempts."""
    return total([attempt.usage for attempt in attempts])


def served(attempts: tuple[Attempt, ...]) -> Attempt | None:
    """Return the attempt whose answer was served, or the last one that was meant to answer."""
    if len(attempts) == 1 and attempts[0].purpose == "answer":  # true for nearly all requests
        return attempts[0]
    answers = [attempt for attempt in attempts if attempt.purpose == "answer"]
    chosen = (attempt for attempt in answers if attempt.served_anyway)
    answered = (attempt for attempt in reversed(answers) if attempt.status in ("ok", "running"))
    return next(chosen, next(answered, answers[-1] if answers else None))


def escalated(attempts: tuple[Attempt, ...]) -> bool:
    """Return whether one of the answers failed a check."""
    return any([attempt.escalated is not None and not _only_ungraded(attempt) for attempt in attempts])


def _only_ungraded(attempt: Attempt) -> bool:
    """Return whether its answer was not served because nothing graded it. It failed no check then."""
    return attempt.ungraded is not None and (attempt.escalated or "").startswith(attempt.ungraded)


def first_answer(attempts: tuple[Attempt, ...]) -> str | None:
    """Return the model that answered first, even if its answer was not served. The request was routed to it."""
    answered = (one.model for one in attempts if one.purpose == "answer" and one.status == "ok")
    return next(answered, None)
