"""What the gateway remembers of requests."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from semroute import Router
from semroute.access.accounts import Accounts
from semroute.caller import Caller
from semroute.errors import BudgetError, ForbiddenError
from semroute.execution.sessions import Sessions
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.messages import ChatRequest, Message, Text
from semroute.providers.transport import Transport
from semroute.record import Record
from semroute.stores.memory import MemoryState

ROUTES = """
providers: {local: {dialect: echo}}
models: {small: {provider: local, name: small, input_price: 1, output_price: 1}}
default: {models: [small]}
"""


@pytest.mark.parametrize(
    ("caller", "error"),
    [
        (Caller(id="k"), None),
        (Caller(id="k", usd_per_day=Decimal(0)), BudgetError),
        (Caller(id="k", models=("other",)), ForbiddenError),
    ],
)
async def test_of_a_refused_request_no_conversation_is_remembered(
    tmp_path: Path, caller: Caller, error: type[Exception] | None
) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    transport = Transport()
    in_service, sessions = InService(Serving.open(Router.load(tmp_path), transport, echo=True)), Sessions()
    gateway = Gateway(in_service, lambda _: None, accounts=Accounts(MemoryState()), sessions=sessions)
    request = ChatRequest(id="r", messages=(Message(role="user", parts=(Text(text="hello"),)),), session="mine")
    call = await gateway.open(request, caller)
    if error is None:
        await call.complete()
    else:
        with pytest.raises(error, match=re.escape("key k")):
            await call.complete()
    await gateway.aclose()
    await transport.aclose()
    assert (await sessions.get("k\0mine") is None) is (error is not None)


PASTED = "Translate the mail below into Greek.\n\n```\nplease cancel my order\n```"


@pytest.mark.parametrize("explain", [False, True])
@pytest.mark.parametrize(("content", "logged"), [("none", False), ("hash", False), ("redacted", False), ("full", True)])
async def test_the_log_holds_words_of_a_prompt_only_where_it_keeps_texts(
    tmp_path: Path, content: str, logged: bool, explain: bool
) -> None:
    (tmp_path / "routes.yaml").write_text(f"{ROUTES}log: {{content: {content}}}\n")
    transport, records = Transport(), list[Record]()
    in_service = InService(Serving.open(Router.load(tmp_path), transport, echo=True))
    gateway = Gateway(in_service, records.append, accounts=Accounts(MemoryState()), sessions=Sessions())
    message = Message(role="user", parts=(Text(text=PASTED),))
    call = await gateway.open(ChatRequest(id="r", messages=(message,), explain=explain), Caller(id="k"))
    await call.complete()
    await gateway.aclose()
    await transport.aclose()
    (record,) = records
    details = record.decision.details
    asked = None if details is None else [piece.text.strip() for piece in details.pieces if piece.asked]
    assert asked == (["Translate the mail below into Greek."] if logged else None)
