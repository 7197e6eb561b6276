"""What single models accept over OpenAI's two dialects, by name.

The tables list OpenAI's own models, and those of vendors whose servers speak Chat Completions. Rules for all models of
a server are in `config/presets.py` and `shared/field_limits.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from semroute.bases import Frozen
from semroute.dialects.shared import model_abilities
from semroute.dialects.shared.model_abilities import Line
from semroute.messages import Effort

When = Literal["always", "unreasoning", "never"]
"""`unreasoning`: only with the reasoning effort `none`."""


class Traits(Frozen, frozen=True, kw_only=True):
    """What a model accepts."""

    efforts: tuple[Effort, ...] = ()
    """The reasoning efforts that it knows. Empty: any effort is sent as it is."""
    usual: Effort | None = None
    """The effort that it uses if a request has none. None: not known."""
    sampling: When = "always"
    """When it takes `temperature`, `top_p` and log-probabilities."""
    chat_tools: When = "always"
    """When it calls tools over Chat Completions. Over Responses it always does."""
    refuses: tuple[str, ...] = ()
    """Fields of the body that it refuses."""
    cache_options: bool = True
    """It takes `prompt_cache_options`, `reasoning.mode` and `reasoning.context`."""
    ultrafast: bool = True
    """It is served in the tier `ultrafast`."""
    off: Literal["effort", "thinking"] = "effort"
    """The setting that turns reasoning off: the effort `none`, or `thinking: {type: disabled}`."""


_TO_MAX: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
_TO_XHIGH: tuple[Effort, ...] = ("low", "medium", "high", "xhigh")
_TO_HIGH: tuple[Effort, ...] = ("low", "medium", "high")
_PENALTIES = ("frequency_penalty", "presence_penalty")
_OPENAI = "https://developers.openai.com/api/docs/"

_GPT_6 = Traits(efforts=_TO_MAX, usual="medium", sampling="never", chat_tools="never")
_GPT_6_OFF = Traits(
    efforts=("none", *_TO_MAX), usual="medium", sampling="unreasoning", chat_tools="unreasoning", ultrafast=False
)
_GPT_5 = Traits(
    efforts=("minimal", *_TO_HIGH),
    usual="medium",
    sampling="never",
    refuses=(*_PENALTIES, "logit_bias"),
    cache_options=False,
    ultrafast=False,
)
_GPT_5_OFF = Traits(
    efforts=("none", *_TO_HIGH), usual="none", sampling="unreasoning", cache_options=False, ultrafast=False
)
_O = Traits(
    efforts=_TO_HIGH,
    usual="medium",
    sampling="never",
    refuses=(*_PENALTIES, "logit_bias"),
    cache_options=False,
    ultrafast=False,
)

OPENAI: tuple[Line[Traits], ...] = (
    Line(
        r"\bgpt-6(\.1-(terra|luna)|-(sol|terra|luna))",
        _GPT_6_OFF,
        _OPENAI + "guides/deployment-checklist",
        "2026-11-30",
    ),
    Line(r"\bgpt-[6-9]", _GPT_6, _OPENAI + "guides/deployment-checklist", "2026-11-30"),
    Line(
        r"\bgpt-5\.6(-sol)?$",
        Traits(efforts=("none", *_TO_MAX), usual="medium", sampling="unreasoning", chat_tools="unreasoning"),
        _OPENAI + "guides/ultrafast-mode",
        "2026-11-30",
    ),
    Line(r"\bgpt-5\.[6-9]", _GPT_6_OFF, _OPENAI + "models", "2026-11-30"),
    Line(
        r"\bgpt-5\.5",
        Traits(
            efforts=("none", *_TO_XHIGH),
            usual="medium",
            sampling="unreasoning",
            chat_tools="unreasoning",
            cache_options=False,
            ultrafast=False,
        ),
        _OPENAI + "guides/reasoning",
        "2026-11-30",
    ),
    Line(
        r"\bgpt-5\.[2-4](?!.*-(chat|pro|codex))",
        Traits(
            efforts=("none", *_TO_XHIGH), usual="none", sampling="unreasoning", cache_options=False, ultrafast=False
        ),
        "https://docs.rs/openai-tools/3.0.0/openai_tools/responses/request/enum.ReasoningEffort.html",
        "2026-11-30",
    ),
    Line(
        r"\bgpt-5\.1(?!.*-(chat|pro|codex))",
        _GPT_5_OFF,
        "https://learn.microsoft.com/en-us/javascript/api/@azure/ai-projects/reasoningeffort",
        "2026-11-30",
    ),
    Line(r"\bgpt-5(-mini|-nano)?(-\d{4}.*)?$", _GPT_5, _OPENAI + "guides/reasoning", "2026-11-30"),
    Line(r"(^|/)o[134](-mini|-pro)?(-\d{4}.*)?$", _O, _OPENAI + "guides/reasoning", "2026-11-30"),
    Line(
        r"\bgpt-(3|4|5)(?!\d)",
        Traits(cache_options=False, ultrafast=False),
        "https://docs.rs/async-openai/0.42.0/async_openai/types/responses/struct.PromptCacheOptionsParam.html",
        "2026-11-30",
    ),
)

_XAI = "https://docs.x.ai/docs/guides/reasoning"
_REASONS = (*_PENALTIES, "stop")
XAI: tuple[Line[Traits], ...] = (
    Line(r"grok.*non-reasoning", Traits(refuses=("reasoning_effort",)), _XAI, "2026-11-30"),
    Line(r"grok-3-mini", Traits(efforts=("low", "high"), refuses=_REASONS), _XAI, "2026-11-30"),
    Line(
        r"grok-4\.3",
        Traits(efforts=("none", *_TO_HIGH), refuses=_REASONS),
        "https://newreleases.io/project/github/vercel/ai/release/@ai-sdk%2Fxai@4.0.0-canary.61",
        "2026-11-30",
    ),
    Line(
        r"grok-4\.6",
        Traits(efforts=_TO_XHIGH, refuses=_REASONS),
        "https://github.com/chenyme/grok2api/pull/901",
        "2026-11-30",
    ),
    Line(
        r"grok-4\.(5|[7-9])",
        Traits(efforts=_TO_HIGH, refuses=_REASONS),
        "https://github.com/anomalyco/opencode/issues/39448",
        "2026-11-30",
    ),
    Line(r"grok-3", Traits(refuses=("reasoning_effort",)), _XAI, "2026-11-30"),
    Line(r"grok-(4|code)", Traits(refuses=("reasoning_effort", *_REASONS)), _XAI, "2026-11-30"),
)

_MISTRAL = "https://docs.mistral.ai/inference/conversations/reasoning"
MISTRAL: tuple[Line[Traits], ...] = (
    Line(r"mistral-large-4", Traits(efforts=("none", *_TO_HIGH)), _MISTRAL, "2026-11-30"),
    Line(
        r"mistral-(small-(4|2603|latest)|medium-(3[.-]5|latest))",
        Traits(efforts=("none", "high")),
        _MISTRAL,
        "2026-11-30",
    ),
    Line(r"magistral", Traits(refuses=("reasoning_effort",)), _MISTRAL, "2026-11-30"),
)

DEEPSEEK: tuple[Line[Traits], ...] = (
    Line(r"deepseek", Traits(off="thinking"), "https://api-docs.deepseek.com/guides/thinking_mode", "2026-11-30"),
)

SERVERS: dict[str, tuple[Line[Traits], ...]] = {
    "": (*OPENAI, *XAI),
    "openai": OPENAI,
    "azure": OPENAI,
    "xai": XAI,
    "mistral": MISTRAL,
    "deepseek": DEEPSEEK,
}
"""The tables, by preset. A server without a preset may be OpenAI. The first line that matches a name counts."""


@lru_cache(1024)
def traits_of(server: str, name: str) -> Traits:
    """Return the traits of a model by its name. A model without a line refuses nothing."""
    return model_abilities.first_match(SERVERS.get(server, ()), name, Traits())
