"""How much a model should think, as an effort or as tokens; and marks on thoughts that say which provider made them."""

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
"""The thinking tokens for each effort, for dialects that count tokens."""
SEAL = "semroute."
"""The start of a signature that semroute marked."""
_SIGNED = "_semroute_"
"""The separator between a call's id and its signature."""
_UNSIGNED = "unsigned"
_REDACTED = "!"


def effort_of(params: Params) -> Effort | None:
    """Return the effort that was asked for. None: none was, or the model may think as much as it likes."""
    tokens = params.thinking_tokens
    if tokens == 0:
        return "none"
    if params.effort is not None or tokens is None or tokens < 0:
        return params.effort
    return next((effort for effort, budget in BUDGETS.items() if tokens <= budget), "max")


def budget_of(params: Params) -> int | None:
    """Return the thinking tokens that were asked for. None: nothing was asked. -1: as many as the model likes."""
    tokens = params.thinking_tokens
    if params.effort is None or (tokens is not None and tokens >= 0):
        return tokens
    return BUDGETS[params.effort]


def wants_thinking(request: ChatRequest, model: Model, dropped: Dropped) -> bool:
    """Whether to tell the model how much to think. If it cannot think, the answer is no, and that is noted."""
    effort = effort_of(request.params)
    asked = effort is not None or request.params.thinking_tokens is not None
    if not asked or "reasoning" in model.features:
        return asked
    if effort != "none":
        dropped.add("reasoning_effort: the model's features lack `reasoning`")
    return False


def seal(thought: Thinking, dialect: str) -> str:
    """Return the signature of a thought for a caller of a dialect. It is marked with the provider that it comes from.

    A signature of the caller's own dialect stays as it is, unless only some models can read it. A thought without a
    signature is marked too, because the dialect's own provider would refuse it.
    """
    if thought.origin == dialect and not thought.model:
        return thought.signature
    maker = f":{thought.model}" if thought.model else ""
    return f"{SEAL}{thought.origin or _UNSIGNED}{maker}{_REDACTED if thought.redacted else ''}.{thought.signature}"


def is_sealed(signature: object) -> bool:
    """Whether a signature carries semroute's mark."""
    return isinstance(signature, str) and signature.startswith(SEAL)


def unseal(text: str, signature: str, dialect: str, *, redacted: bool = False) -> Thinking:
    """Read a thought that a caller of a dialect sends back."""
    origin, maker = dialect if signature else "", ""
    if signature.startswith(SEAL):
        origin, _, signature = signature.removeprefix(SEAL).partition(".")
        redacted = origin.endswith(_REDACTED)
        origin, _, maker = origin.removesuffix(_REDACTED).partition(":")
    return Thinking(text=text, signature=signature, origin=origin, model=maker, redacted=redacted)


def signed_id(call: ToolCall) -> str:
    """Return the id of a call with its signature in it, for dialects whose calls have no field for one.

    Only Gemini signs calls, and it wants the signature back on the call. Callers send ids back unchanged.
    """
    if not call.signature or not call.id:
        return call.id
    signature = base64.urlsafe_b64encode(call.signature.encode("utf-8", "surrogatepass")).decode().rstrip("=")
    return f"{call.id}{_SIGNED}{signature}"


def split_id(id_: str) -> tuple[str, str]:
    """Split the id of a call into the plain id and the signature. The signature is empty if there is none."""
    plain, mark, signature = id_.rpartition(_SIGNED)
    if not mark:
        return id_, ""
    try:
        padded = signature + "=" * (-len(signature) % 4)
        return plain, base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8", "surrogatepass")
    except ValueError:
        return id_, ""
