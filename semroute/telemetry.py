"""What the service says of itself. Keys are never logged; prompts only where a provider quotes them, at debug."""

from __future__ import annotations

import logging

from semroute.types import Attempt, Record

log = logging.getLogger("semroute")


def configure(level: str) -> None:
    """Log to standard error."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def log_record(record: Record) -> None:
    """One line for each request; a warning for each failed attempt, an error where a key of ours was refused."""
    for attempt in record.attempts:
        if attempt.status == "failed":
            log.log(_severity(attempt), "%s: %s failed: %s", record.request_id, attempt.model, attempt.error_code)
            # What the provider says may quote the prompt.
            log.debug("%s: %s said: %s", record.request_id, attempt.model, attempt.error)
    log.info(
        "%s: %s %s -> %s in %d attempt(s), %s, %s USD, overhead %.1f ms",
        record.request_id,
        record.decision.reason,
        record.decision.route or "-",
        record.model or "-",
        len(record.attempts),
        record.outcome,
        f"{record.cost_usd:f}",
        record.overhead_ms,
    )


def _severity(attempt: Attempt) -> int:
    ours = attempt.error_code in {"provider_auth", "provider_unknown_model", "provider_tls"}
    return logging.ERROR if ours else logging.WARNING
