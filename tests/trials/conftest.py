from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from tests.trials.stage import Cast, Stage
from tests.vendors.server import VendorServer

OpenStage = Callable[..., Awaitable[Stage]]


@pytest.fixture
async def open_stage(tmp_path: Path) -> AsyncIterator[OpenStage]:
    """Open a service with trials: its models, and what its route files say of them."""
    (tmp_path / "routes").mkdir()
    async with AsyncExitStack() as stack:
        with ExitStack() as servers:

            async def opened(cast: Cast, text: str, **given: str) -> Stage:
                server = servers.enter_context(VendorServer(cast))
                servers.callback(cast.leave.set)
                stage = Stage(tmp_path / "routes", cast, server, text, **given)
                await stack.enter_async_context(stage.running())
                return stage

            yield opened
            await stack.aclose()
