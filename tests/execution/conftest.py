from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.execution.rig import Rig, rig
from tests.providers.fault_server import FaultServer


@pytest.fixture
def provider() -> Iterator[FaultServer]:
    """A fault server that has seen nothing yet."""
    with FaultServer() as server:
        yield server


@pytest.fixture
async def execution(provider: FaultServer) -> AsyncIterator[Rig]:
    async with rig(provider) as ready:
        yield ready
