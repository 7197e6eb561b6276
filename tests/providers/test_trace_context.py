from __future__ import annotations

from contextvars import copy_context

import pytest

from semroute.providers import trace_context

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def followed(traceparent: str | None, tracestate: str | None = None) -> dict[str, str]:
    """What providers are sent."""

    def follow() -> dict[str, str]:
        trace_context.follow(traceparent, tracestate)
        return trace_context.trace.get()

    return copy_context().run(follow)


def test_a_trace_is_passed_on() -> None:
    assert followed(PARENT, "a=b,c=d") == {"traceparent": PARENT, "tracestate": "a=b,c=d"}
    assert followed(f"cc{PARENT[2:]}-more") == {"traceparent": f"cc{PARENT[2:]}-more"}


@pytest.mark.parametrize("state", ["a=\xe9", "a=b\x00", "a=b\r\nx: y", "a=\x7f", "a=" + "b" * 600, "", None])
def test_a_state_that_cannot_be_read_is_left_out(state: str | None) -> None:
    assert followed(PARENT, state) == {"traceparent": PARENT}


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        PARENT.upper(),
        f"ff{PARENT[2:]}",
        f"{PARENT}-\xe9",
        f"{PARENT}-a\n",
        f"{PARENT}-{'a' * 600}",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)
def test_what_is_no_trace_is_passed_over(parent: str | None) -> None:
    assert followed(parent, "a=b") == {}
