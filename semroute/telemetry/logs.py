"""The log of the service. It never holds keys, and holds a prompt only if a provider's error quotes it at level
debug.
"""

from __future__ import annotations

import datetime
import json
import logging
from typing import Any, Literal

from semroute.record import Attempt, Record

log = logging.getLogger("semroute")

TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(level: str, style: Literal["text", "json"] = "text") -> None:
    """Log to standard error: lines for people, or one JSON object on each line."""
    logging.basicConfig(level=level.upper())
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(TEXT))


def server_config(style: Literal["text", "json"] = "text") -> dict[str, Any]:
    """Return the HTTP server's logging configuration, for `logging.config.dictConfig`. It logs like the service."""
    handlers = {"all": {"class": "logging.StreamHandler", "formatter": style, "stream": "ext://sys.stderr"}}
    server = {"handlers": ["all"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"text": {"format": TEXT}, "json": {"()": JsonFormatter}},
        "handlers": handlers,
        "loggers": {"uvicorn": server},
    }


class JsonFormatter(logging.Formatter):
    """`{"time": …, "level": …, "logger": …, "message": …}`, and the fields of `extra={"fields": {…}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_record(record: Record) -> None:
    """Log one line for each request. A failed attempt is a warning, or an error if a provider refused our key."""
    for attempt in record.attempts:
        if attempt.status == "failed":
            fields = {"request_id": record.request_id, "model": attempt.model, "error_code": attempt.error_code}
            message = "%s: %s failed: %s"
            values = record.request_id, attempt.model, attempt.error_code
            log.log(_severity(attempt), message, *values, extra={"fields": fields})
            # The provider's text may quote the prompt.
            log.debug("%s: %s said: %s", record.request_id, attempt.model, attempt.error)
    if not log.isEnabledFor(logging.INFO):
        return
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
        extra={"fields": _fields(record)},
    )


def _fields(record: Record) -> dict[str, object]:
    return {
        "request_id": record.request_id,
        "route": record.decision.route,
        "reason": record.decision.reason,
        "model": record.model,
        "key": record.caller.id or None,
        "outcome": record.outcome,
        "attempts": len(record.attempts),
        "cost_usd": f"{record.cost_usd:f}",
        "latency_ms": round(record.latency_ms, 1),
        "overhead_ms": round(record.overhead_ms, 1),
    }


def _severity(attempt: Attempt) -> int:
    ours = attempt.error_code in {"provider_auth", "provider_unknown_model", "provider_tls", "provider_unsendable"}
    return logging.ERROR if ours else logging.WARNING
