"""Facts of a request that need no understanding. Facts that cost time are read when a rule first asks for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from semroute.bases import Frozen
from semroute.config.error_wording import got
from semroute.config.regular_expressions import compiled, encodable
from semroute.config.schema.matching import RouteOn
from semroute.config.schema.models import Feature
from semroute.config.schema.rules import Harness, LookAt
from semroute.errors import RequestError
from semroute.messages import ChatRequest, Message, Text, ToolResult
from semroute.routing.ask import Ask, find_ask, with_earlier_ask
from semroute.routing.client_requests import CLOSES, errand, system_text, typed_text
from semroute.routing.english_check import foreign
from semroute.routing.follow_ups import names_subject, says_nothing
from semroute.routing.language_guess import guess_language, guess_script
from semroute.routing.lexical_cues import looks_like_code
from semroute.routing.pricing import estimate_input_tokens, estimate_text_tokens

MAX_BACK = 8
"""The most turns that are looked at for the ask that a turn follows up."""
DIAL = "cost_quality"
"""The field of a request's body, or the key of its metadata, that is its dial."""
DIAL_HEADER = "x-semroute-cost-quality"


class Facts(Frozen, frozen=True, kw_only=True, dict=True):
    """What rules and constraints look at."""

    ask: Ask
    """The ask of the request, and the part of it that is matched with the utterances."""
    prompt: str
    """The last user turn, or all of them: the ask with its material. Empty: no turn has text."""
    last_turn: str
    """The ask of the last user turn. The language is guessed from it."""
    input_tokens: int
    """Estimated, over the whole conversation."""
    max_tokens: int | None
    needs: tuple[Feature, ...]
    """What a model must be able to do."""
    metadata: dict[str, Any]
    headers: dict[str, str] = {}
    """HTTP headers, with names in lower case."""
    turns: int = 1
    """How many messages are from the user."""
    json_schema: bool = False
    """Whether a JSON Schema for the answer was given."""
    cost_quality: float | None = None
    """The request's own dial, from 0 (cheapest) to 1 (best). None: it has none."""
    messages: tuple[Message, ...] = ()
    """The conversation."""
    verdicts: Mapping[str, bool] = {}
    """Whether rules hold, by their names, as far as that is known without looking: facts from the log know it."""
    known_complexity: dict[str, float] | None = None
    """The parts of the complexity, if they are known without the text."""

    @cached_property
    def wanted_tokens(self) -> int:
        """Estimated tokens of the input, plus those of the output if the request limits it."""
        return self.input_tokens + (self.max_tokens or 0)

    @property
    def text(self) -> str:
        """The ask as text. Empty: no user turn has text."""
        return self.ask.text

    @cached_property
    def last_turn_tokens(self) -> int:
        """Estimate the tokens of `last_turn`."""
        return estimate_text_tokens(self.last_turn)

    def searched(self, look_at: LookAt) -> str:
        """Return the text in which a rule looks for words."""
        return self.prompt if look_at == "prompt" else self.text

    def foreign_to(self, utterance: str) -> bool:
        """Return whether `last_turn` is in another language than English. The words of an utterance do not count."""
        return foreign(self.last_turn, utterance)

    @cached_property
    def lowered(self) -> str:
        """Return `text` in lower case."""
        return self.text.lower()

    @cached_property
    def prompt_tokens(self) -> int:
        """Estimate the tokens of `prompt`."""
        return estimate_text_tokens(self.prompt)

    @cached_property
    def traits(self) -> frozenset[str]:
        """Return which of `code`, `images`, `tools`, `json` and `json_schema` the request has."""
        here = {
            "code": looks_like_code(self.prompt),
            "images": "vision" in self.needs,
            "tools": "tools" in self.needs,
            "json": "json" in self.needs,
            "json_schema": self.json_schema,
        }
        return frozenset(name for name, there in here.items() if there)

    @cached_property
    def system(self) -> str:
        """The system prompt."""
        return system_text(self.messages)

    @cached_property
    def harness(self) -> Harness | None:
        """Return what an agent asks for itself. None: it asks for its user."""
        return errand(self.messages)

    @cached_property
    def script(self) -> str | None:
        """Return the script of most of `text`. None: it has no letters."""
        return guess_script(self.text)

    @cached_property
    def language(self) -> str | None:
        """Return the likeliest language of `text`, as in ISO 639-1. None: not known."""
        return guess_language(self.text)


def read_facts(request: ChatRequest, route_on: RouteOn = "auto", strip: Sequence[str] = ()) -> Facts:
    """Read the facts of a request once. `route_on`: the part of the conversation that is matched. `strip`: patterns of
    what is not the user's. Raises `RequestError` for a bad dial.
    """
    turns = [message.role for message in request.messages].count("user")
    last = last_user_text(request)
    if strip:
        last = without_patterns(last, strip)
    ask, prompt = find_ask(last), last
    last_turn = ask.text
    if route_on == "conversation":
        prompt = "\n".join(without_patterns(text, strip) for text in user_texts(request))
        ask = Ask(text=prompt, matched=(prompt,))
    elif turns > 1 and route_on == "auto" and says_nothing(last_turn):
        ask = _continued(ask, [without_patterns(text, strip) for text in user_texts(request)])
    return Facts(
        ask=ask,
        prompt=prompt,
        last_turn=last_turn,
        input_tokens=estimate_input_tokens(request),
        max_tokens=request.params.max_tokens,
        needs=_needs(request),
        metadata=request.metadata,
        headers=request.headers,
        turns=turns,
        json_schema=request.params.json_schema is not None,
        cost_quality=_dial(request),
        messages=request.messages,
    )


def _continued(ask: Ask, turns: Sequence[str]) -> Ask:
    """Return an ask that makes no sense alone, with the ask before it. `turns`: all turns of the user."""
    nearest: Ask | None = None
    for turn in reversed(turns[-MAX_BACK - 1 : -1]):
        before = find_ask(turn)
        if not says_nothing(before.text):
            return with_earlier_ask(before, ask)
        if nearest is None and names_subject(before.text):  # "fix this loop: …"
            nearest = before
    return ask if nearest is None else with_earlier_ask(nearest, ask)


def without_patterns(text: str, patterns: Sequence[str]) -> str:
    """Return a text without the parts that match. If nothing would be left, the text stays as it is."""
    for pattern in patterns:
        text = compiled(pattern).sub("", encodable(text)).strip() or text
    return text


def _dial(request: ChatRequest) -> float | None:
    """Read the dial from the body, else from the metadata, else from the header."""
    of_metadata = read_dial(request.metadata[DIAL], f"$.metadata.{DIAL}") if DIAL in request.metadata else None
    of_header = read_dial(request.headers[DIAL_HEADER], DIAL_HEADER) if DIAL_HEADER in request.headers else None
    if request.cost_quality is not None:
        return request.cost_quality
    return of_header if of_metadata is None else of_metadata


def read_dial(value: object, place: str) -> float | None:
    """Read a dial that a caller gave. None: it gave none. Raises `RequestError`, which names the place."""
    if value is None:
        return None
    dial = number(value)
    if dial is None or not 0 <= dial <= 1:
        raise RequestError(f"{place}: got {got(value)}, expected a number from 0 to 1", param=place.removeprefix("$."))
    return dial


def number(value: object) -> float | None:
    """Read a number, or a text that holds one: some clients can only send texts. None: it is neither, or it is NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(found) else found


def user_texts(request: ChatRequest) -> list[str]:
    """Return what the user said, turn by turn.

    A turn with a tool's result comes from the agent, even if it has text. It does not change what the user wants, so
    the decision of the turn before it stands. Blocks that an agent puts before or behind the user's text are left out,
    too, unless there is nothing else.
    """
    turns = [message for message in request.messages if _is_users(message)]
    own = [text for message in turns if (text := _typed(message))]
    return own or [text for message in turns if (text := message.text.strip())]


def last_user_text(request: ChatRequest) -> str:
    """Return the last of the user's texts, and read no more than that. Empty: there is none."""
    own = (_typed(message) for message in reversed(request.messages) if _is_users(message))
    return next(filter(None, own), "") or "\n".join(user_texts(request)[-1:])


def _is_users(message: Message) -> bool:
    return message.role == "user" and (
        len(message.parts) == 1 or not any(isinstance(part, ToolResult) for part in message.parts)
    )


def _typed(message: Message) -> str:
    """Return what the user typed in a turn."""
    if len(message.parts) == 1 and isinstance(only := message.parts[0], Text):  # as most are
        return (typed_text(only.text) if CLOSES in only.text else only.text).strip()
    each = (typed_text(part.text) for part in message.parts if isinstance(part, Text))
    return "\n".join(text for text in each if text).strip()


def _needs(request: ChatRequest) -> tuple[Feature, ...]:
    needs: list[Feature] = []
    if request.tools:
        needs.append("tools")
    if request.params.json_output:
        needs.append("json")
    if any([message.images for message in request.messages]):
        needs.append("vision")
    return tuple(needs)
