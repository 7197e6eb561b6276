"""Deciding: the second phase of a request. The Router chooses, based on the facts that were gathered."""

from __future__ import annotations

from semroute.errors import RequestError, UnknownModelError, UnknownRouteError
from semroute.gateway.gathering import FactSources, Gathering, RequestContext, with_input_size
from semroute.gateway.recording import Account, Recorder
from semroute.messages import EMBEDDINGS, ChatRequest
from semroute.router import Decided
from semroute.routing.decide import AUTO
from semroute.routing.model_aliases import alias_target


async def decide(
    request: ChatRequest, arrival: RequestContext, sources: FactSources, recorder: Recorder
) -> tuple[Decided, Account]:
    """Decide, and open the account of the request.

    If deciding fails after it called a model, the failure is recorded. Raises `RequestError` for names that do not
    exist, and `OverloadedError`.
    """
    if arrival.config.aliases and request.endpoint == EMBEDDINGS:
        _require_model(request, arrival)
    gathering = Gathering(arrival, sources)
    try:
        decided = await arrival.serving.router.decide_in(gathering, request)
    except (UnknownModelError, UnknownRouteError) as error:
        if not arrival.caller.restricted:
            raise
        # A key that may use only some routes or models is not told which others there are.
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
        with_input_size(decided.request, decided.facts),
        decided.decision,
        decided.facts,
        decided.reading,
        gathering.attempts,
    )
    return decided, account


def _require_model(request: ChatRequest, arrival: RequestContext) -> None:
    """Raise `RequestError` if the request for embeddings uses an alias that stands for a choice among models."""
    target = alias_target(arrival.config, request.model)
    if target != request.model and target.partition(":")[0] == AUTO:
        told = f"model {request.model!r} is an alias of {target}"
        raise RequestError(f"{told}, expected a model's id: embeddings are not routed", param="model")
