from __future__ import annotations

from decimal import Decimal
from typing import Any

from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.routes import Default, Route
from semroute.config.schema.rules import Rule, When
from semroute.messages import ChatRequest, Message, Text
from semroute.routing.facts import Facts, read_facts


def model(id_: str, **fields: Any) -> Model:
    """A model; prices may be plain numbers."""
    for price in ("input_price", "output_price", "cached_input_price"):
        if price in fields:
            fields[price] = Decimal(str(fields[price]))
    return Model(**{"id": id_, "provider": "p", "name": id_, **fields})


def request(text: str = "hello there", **fields: Any) -> ChatRequest:
    """A request of one user turn."""
    messages = (Message(role="user", parts=(Text(text=text),)),) if text else ()
    return ChatRequest(**{"id": "r1", "messages": messages, **fields})


def facts(text: str = "hello there", **fields: Any) -> Facts:
    """What is read off such a request."""
    return read_facts(request(text, **fields))


def config(*models: Model, rules: tuple[Rule, ...] = (), routes: tuple[Route, ...] = (), **fields: Any) -> Config:
    """A configuration; the default takes all models in their order."""
    return Config(
        **{
            "providers": {"p": ProviderSettings(id="p", dialect="echo")},
            "models": {one.id: one for one in models},
            "default": Default(models=tuple(one.id for one in models if not one.group)),
            "routes": {route.name: route for route in routes},
            "rules": tuple(sorted(rules, key=lambda rule: -rule.priority)),
            **fields,
        }
    )


def route(name: str = "billing", **fields: Any) -> Route:
    """A route."""
    return Route(**{"name": name, "utterances": ("pay",), "models": ("small", "large"), **fields})


def rule(name: str = "r", when: When | None = None, **fields: Any) -> Rule:
    """A rule that holds always, unless told otherwise."""
    return Rule(**{"name": name, "when": when or When(), **fields})


SMALL = model("small", tier="simple", input_price=0.1, output_price=0.4, quality=0.7, latency_ms=300)
MIDDLE = model("middle", tier="moderate", input_price=1, output_price=4, quality=0.8, latency_ms=800)
LARGE = model("large", tier="complex", input_price=3, output_price=15, quality=0.95, latency_ms=2000)
ALL = (SMALL, MIDDLE, LARGE)
DEFAULT_POLICY = Policy()
