"""A dialect that nobody speaks, to show what one takes: this folder and a line of the table."""

from __future__ import annotations

from semroute.dialects.description import Dialect, Endpoint, Signs
from tests.dialects.toy.client import SayBody, Toy
from tests.dialects.toy.model_list import ToyModelList
from tests.dialects.toy.provider import ToyProviderDialect

_client = Toy()

DIALECT = Dialect(
    client=_client,
    signs=Signs(paths=("/toy/",), headers={"x-toy-client": "/v1/models"}),
    endpoints=(
        Endpoint(
            path="/toy/say", client=_client, body=SayBody, about="Says something.", media_type="application/x-ndjson"
        ),
    ),
    models=ToyModelList(),
    provider=lambda _: ToyProviderDialect(),
    telemetry_name="toy.works",
)
