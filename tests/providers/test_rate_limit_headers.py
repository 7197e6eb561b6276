from __future__ import annotations

import pytest

from semroute.providers.rate_limit_headers import NOTHING, RateLimit, RateLimitState, read

NOW = 1_800_000_000.0


def told(**headers: str) -> RateLimitState:
    return read([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()], NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("Fri, 15 Jan 2027 08:00:10 GMT", 10),
        ("2027-01-15T08:00:10Z", 10),
        ("2027-01-15T08:00:10", 10),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("Mon, 99999999999999999999 Jan 2027 08:00:00 GMT", None),
        ("Fri, 15 Jan 2027 08:00:00 +99999999999999999999", None),
        ("9" * 400 + "s", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert told(Retry_After=value).retry_after_s == seconds


def test_milliseconds_come_first() -> None:
    assert told(retry_after="7", retry_after_ms="250").retry_after_s == 0.25


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1.5s", 1.5),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("12", 12),
        ("1800000030", 30),
        ("1800000030000", 30),
        ("2027-01-15T08:00:10Z", 10),
        ("", None),
        ("later", None),
    ],
)
def test_a_reset_is_a_duration_or_a_moment(reset: str, seconds: float | None) -> None:
    (limit,) = told(x_ratelimit_remaining_requests="3", x_ratelimit_reset_requests=reset).limits
    assert limit.reset_s == (pytest.approx(seconds) if seconds is not None else None)


def test_the_dialects_headers_are_known() -> None:
    openai = {
        f"X-RateLimit-{what}-{of}": value
        for of in ("Requests", "Tokens")
        for what, value in (("Limit", "100"), ("Remaining", "9"), ("Reset", "1s"))
    }
    assert told(**openai).limits == tuple(
        RateLimit(resource=of, remaining=9, limit=100, reset_s=1) for of in ("requests", "tokens")
    )
    assert told(anthropic_ratelimit_requests_remaining="4").limits == (RateLimit(resource="requests", remaining=4),)
    assert told(x_ratelimit_remaining="5", x_ratelimit_limit="x").limits == (
        RateLimit(resource="requests", remaining=5),
    )


def test_other_headers_say_nothing() -> None:
    assert told(content_type="application/json", date="x") is NOTHING
    assert told(x_ratelimit_remaining="many").limits == ()
