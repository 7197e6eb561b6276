"""How much to think, as levels and as tokens, and how a thought finds its way back to the provider that thought it."""

from __future__ import annotations

import base64

from semroute.config.schema.models import Model
from semroute.dialects.shared.dropped import Dropped
from semroute.messages import ChatRequest, Effort, Params, Thinking, ToolCall

BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 65536,
}
"""Thinking tokens that stand for an effort where a dialect counts tokens."""
SEAL = "semroute."
"""What the signature of another provider's thought begins with."""
_SIGNED = "_semroute_"
"""What stands between the id of a call and its signature."""
_UNSIGNED = "unsigned"
_REDACTED = "!"


def effort_of(params: Params) -> Effort | None:
    """The effort that was asked for, in levels; None: none was, or as much as the model likes."""
    tokens = params.thinking_tokens
    if tokens == 0:
        return "none"
    if params.effort is not None or tokens is None or tokens < 0:
        return params.effort
    return next((effort for effort, budget in BUDGETS.items() if tokens <= budget), "max")


def budget_of(params: Params) -> int | None:
    """The effort that was asked for, in tokens; None: none was. -1: as much as the model likes."""
    tokens = params.thinking_tokens
    if params.effort is None or (tokens is not None and tokens >= 0):
        return tokens
    return BUDGETS[params.effort]


def wants_thinking(request: ChatRequest, model: Model, dropped: Dropped) -> bool:
    """Whether the model is to be told how much to think. One that cannot think is not, and that is noted."""
    effort = effort_of(request.params)
    asked = effort is not None or request.params.thinking_tokens is not None
    if not asked or "reasoning" in model.features:
        return asked
    if effort != "none":
        dropped.add("reasoning effort: the model's features lack `reasoning`")
    return False


def seal(thought: Thinking, dialect: str) -> str:
    """A thought's signature as a caller of that dialect is given it: it carries where it comes from.

    One of the caller's own dialect stays as it is, unless only some models of that dialect can read it. One without a
    signature gets this mark as well: the dialect's own provider would refuse it.
    """
    if thought.origin == dialect and not thought.model:
        return thought.signature
    maker = f":{thought.model}" if thought.model else ""
    return f"{SEAL}{thought.origin or _UNSIGNED}{maker}{_REDACTED if thought.redacted else ''}.{thought.signature}"


def is_sealed(signature: object) -> bool:
    """Whether a caller sends back a thought that says where it comes from."""
    return isinstance(signature, str) and signature.startswith(SEAL)


def unseal(text: str, signature: str, dialect: str, *, redacted: bool = False) -> Thinking:
    """The thought that a caller of that dialect sends back."""
    origin, maker = dialect if signature else "", ""
    if signature.startswith(SEAL):
        origin, _, signature = signature.removeprefix(SEAL).partition(".")
        redacted = origin.endswith(_REDACTED)
        origin, _, maker = origin.removesuffix(_REDACTED).partition(":")
    return Thinking(text=text, signature=signature, origin=origin, model=maker, redacted=redacted)


def signed_id(call: ToolCall) -> str:
    """A call's id for callers whose calls have no place for a signature: it is part of the id.

    Gemini alone signs calls, and wants the signature back on the call. Callers give an id back as it came.
    """
    if not call.signature or not call.id:
        return call.id
    signature = base64.urlsafe_b64encode(call.signature.encode("utf-8", "surrogatepass")).decode().rstrip("=")
    return f"{call.id}{_SIGNED}{signature}"


def split_id(id_: str) -> tuple[str, str]:
    """The id of a call, and its signature; empty: it has none."""
    plain, mark, signature = id_.rpartition(_SIGNED)
    if not mark:
        return id_, ""
    try:
        padded = signature + "=" * (-len(signature) % 4)
        return plain, base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8", "surrogatepass")
    except ValueError:
        return id_, ""
