"""Translate errors of the HTTP client into ours."""

from __future__ import annotations

import errno
import logging
import os
import ssl

import aiohttp
import httpx
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import ContentEncodingError

from semroute.errors import (
    MalformedAnswerError,
    NoPlaceError,
    ProviderConnectionError,
    ProviderDNSError,
    ProviderError,
    ProviderTimeoutError,
    ProviderTLSError,
    UnsendableError,
)

log = logging.getLogger("semroute.providers")

FAILURES = (httpx.InvalidURL, aiohttp.ClientError, HttpProcessingError, OSError, ValueError)
"""The errors that `translate` takes."""
_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH = 62, 64
"""OpenSSL's codes."""
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""The operating system's errors if this machine has no room for another connection."""

# The first type that fits counts. Callers read these texts, so no text names a host, as texts of some libraries do.
# `{detail}` is what OpenSSL, the operating system or the HTTP parser says without a host.
_EXPLANATIONS: tuple[tuple[type[Exception], type[ProviderError], str], ...] = (
    (
        httpx.InvalidURL,
        UnsendableError,
        "the provider's base_url cannot be used: expected http://… or https://…",
    ),
    (ContentEncodingError, MalformedAnswerError, "the provider's answer cannot be decompressed: {detail}"),
    (aiohttp.ClientConnectorDNSError, ProviderDNSError, "the provider's name cannot be resolved"),
    (
        aiohttp.ClientProxyConnectionError,
        ProviderConnectionError,
        "cannot connect to the proxy for the provider: {detail}",
    ),
    (aiohttp.ClientHttpProxyError, ProviderConnectionError, "the proxy for the provider refused: {detail}"),
    (ssl.SSLCertVerificationError, ProviderTLSError, "the provider's TLS certificate is not trusted: {detail}"),
    (ssl.SSLError, ProviderTLSError, "TLS with the provider failed: {detail}"),
    (ConnectionRefusedError, ProviderConnectionError, "the provider refused the connection"),
    (aiohttp.ClientConnectorError, ProviderConnectionError, "cannot connect to the provider: {detail}"),
    (TimeoutError, ProviderTimeoutError, "no connection to the provider within {connect_s:g} s"),
    (aiohttp.ClientResponseError, MalformedAnswerError, "the provider does not answer in HTTP: {detail}"),
    (HttpProcessingError, MalformedAnswerError, "the provider's answer is malformed HTTP: {detail}"),
    (
        ValueError,
        UnsendableError,
        "cannot send the request: the key, a header or the base_url is malformed",
    ),
)


def translate(error: Exception, host: str, *, connect_s: float = 0, in_body: bool = False) -> ProviderError:
    """Translate an error into ours. Raise it `from None`: the reprs of its causes hold headers, and so our key.

    `host`: with its port. It goes only into the log.
    """
    system = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error.__cause__, ContentEncodingError):
        system = error.__cause__
    log.debug("%s: %s", host, type(system).__name__)
    facts = {"detail": _detail(system), "connect_s": connect_s}
    if isinstance(system, OSError) and system.errno in NO_ROOM:
        return NoPlaceError(f"this machine has no room for another connection: {facts['detail']}")
    for kind, error_type, text in _EXPLANATIONS:
        if isinstance(error, kind) or isinstance(system, kind):
            return error_type(text.format(**facts))
    when = "inside its answer" if in_body else "before it answered"
    return ProviderConnectionError(f"the provider closed the connection {when}")


def _detail(error: BaseException) -> str:
    """Return what went wrong without where. The texts of asyncio and OpenSSL name addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        mismatch = error.verify_code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH)
        return "it is for another name" if mismatch else error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__
    if isinstance(error, HttpProcessingError | aiohttp.ClientResponseError):
        return one_line(error.message)
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(text.split())
