from __future__ import annotations

import asyncio

import pytest

from semroute.api.background_work import keep_going


async def test_work_that_fails_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    begun, goes_on = 0, asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise TypeError("a defect")
        goes_on.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_going(work, again_s=0))
    async with asyncio.timeout(30):
        await goes_on.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert begun == 3
    assert caplog.text.count("TypeError: a defect") == 2
