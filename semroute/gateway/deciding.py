"""Decide: the Router, on what was gathered."""

from __future__ import annotations

from semroute.dialects.dialect import EMBEDDINGS, endpoint_of
from semroute.errors import RequestError, UnknownModelError, UnknownRouteError
from semroute.gateway.gathering import Arrival, Gathering, Sources, sized
from semroute.gateway.recording import Account, Recorder
from semroute.messages import ChatRequest
from semroute.router import Decided
from semroute.routing.decide import AUTO
from semroute.routing.model_aliases import meant


async def decide(
    request: ChatRequest, arrival: Arrival, sources: Sources, recorder: Recorder
) -> tuple[Decided, Account]:
    """Decide, and open the account of the request. A decision that goes wrong is recorded if it took calls.

    Raises `RequestError` for names that do not exist, and `OverloadedError`.
    """
    if arrival.config.aliases and endpoint_of(request) == EMBEDDINGS:
        _require_model(request, arrival)
    gathering = Gathering(arrival, sources)
    try:
        decided = await arrival.serving.router.decide_in(gathering, request)
    except (UnknownModelError, UnknownRouteError) as error:
        if not arrival.caller.restricted:
            raise
        # A key for some routes or models is not told what others there are.
        raise type(error)(f"{str(error).rpartition('; ')[0]}; see /v1/models", param=error.param) from None
    except BaseException as error:
        if (left_off := gathering.left_off()) is not None:
            account = Account(recorder, arrival, *left_off, gathering.attempts)
            account.begin()
            account.fail(error)
        raise
    account = Account(
        recorder,
        arrival,
        sized(decided.request, decided.facts),
        decided.decision,
        decided.reading,
        gathering.attempts,
    )
    return decided, account


def _require_model(request: ChatRequest, arrival: Arrival) -> None:
    """Raise `RequestError` where the alias of an embedding's model stands for a choice among models."""
    target = meant(arrival.config, request.model)
    if target != request.model and target.partition(":")[0] == AUTO:
        told = f"model {request.model!r} is an alias of {target}"
        raise RequestError(f"{told}, expected a model's id: embeddings are not routed", param="model")
