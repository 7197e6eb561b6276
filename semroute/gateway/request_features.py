"""What a decision was made from, for the log: `log.features` and `log.content: full`."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from semroute.config.schema.service import LogSettings
from semroute.decision import Signals
from semroute.messages import ChatRequest
from semroute.record import AskFeatures, RequestFeatures
from semroute.router import Router
from semroute.routing.difficulty import Reading, complexity
from semroute.routing.facts import Facts
from semroute.routing.rule_matching import digest, holds, keys_read
from semroute.routing.sticky import Remembered

MAX_VALUE_CHARS = 512
"""Longer values of metadata and headers are not kept, so that a record stays small."""

_pack = msgspec.msgpack.Encoder().encode


class Evidence(NamedTuple):
    """What a decision was made from besides facts and readings."""

    asked: ChatRequest
    """The request as it came, before aliases were replaced."""
    signals: Signals
    remembered: Remembered | None
    """Where the conversation's last turn went."""
    label: str | None
    """What the classifier said."""


def packed_features(
    router: Router, facts: Facts, reading: Reading, evidence: Evidence, keep: LogSettings, prompt: str | None
) -> bytes:
    """Return a `RequestFeatures` as msgpack. Empty: it cannot be packed. `prompt`: what the record keeps of the prompt.

    This looks at every rule and takes about a tenth of a millisecond.
    """
    asked, signals, remembered, label = evidence
    rules, gain = router.config.rules, router.gain
    keys, names = keys_read(rules)
    texts = keep.content == "full" and not asked.long
    nearest = next((one.nearest for one in reading.match.candidates), None)
    features = RequestFeatures(
        encoder=router.embedder.fingerprint,
        asks=tuple(
            AskFeatures(vector=one.embedding.astype("<f4").tobytes(), pieces=tuple(one.tokens))
            for one in reading.each or (reading,)
            if keep.features and one.embedding.size
        ),
        matched=facts.ask.matched if texts else (),
        ask=facts.text if texts and facts.text != facts.prompt else None,
        turn=facts.prompt if texts and facts.prompt != prompt else None if texts else "",
        model=asked.model,
        models=asked.models,
        has_text=bool(facts.text),
        input_tokens=facts.input_tokens,
        max_tokens=facts.max_tokens,
        prompt_tokens=facts.prompt_tokens,
        last_turn_tokens=facts.last_turn_tokens,
        turns=facts.turns,
        needs=facts.needs,
        traits=tuple(sorted(facts.traits)),
        json_schema=facts.json_schema,
        cost_quality=facts.cost_quality,
        harness=facts.harness,
        script=facts.script,
        language=facts.language,
        foreign=facts.foreign_to(nearest.utterance if nearest is not None else ""),
        metadata={key: facts.metadata.get(key) for key in keys if _short(facts.metadata.get(key))},
        headers={name: facts.headers.get(name) for name in names if _short(facts.headers.get(name))},
        verdicts={digest(rule.when): holds(rule.when, facts) for rule in rules},
        complexity=complexity(facts) if facts.text else {},
        gain=gain.fingerprint if gain is not None and reading.gains else "",
        gains=reading.gains,
        parts=reading.parts,
        session=bool(asked.session),
        stays=(remembered.route, remembered.model) if remembered is not None else None,
        label=label,
        signals=signals,
    )
    try:
        return _pack(features)
    except (OverflowError, UnicodeError):  # a number of more than 64 bits, or half of a surrogate pair
        return b""


def _short(value: object) -> bool:
    return len(str(value)) <= MAX_VALUE_CHARS
