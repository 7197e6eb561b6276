import asyncio
import base64
import contextlib
import resource
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from semroute.errors import (
    BadAnswerError,
    NoPlaceError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from semroute.providers.transport import Transport, encode_headers
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT

HEADERS = encode_headers({"authorization": "Bearer key"})
BODY = b'{"model": "ok"}'


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.aclose()


async def post(transport: Transport, url: str, *, connect_s: float = 30, body: bytes = BODY) -> bytes:
    async with await transport.send("POST", url, headers=HEADERS, body=body, connect_s=connect_s) as response:
        return await response.aread()


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for a name, and a server's context that uses it."""
    path, key = folder / "cert.pem", folder / "key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=fault", "-addext", f"subjectAltName={name}"]
    command = ["openssl", "req", *kind, *names, "-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return path, context


async def test_a_certificate_nobody_vouches_for_is_refused(transport: Transport, tmp_path: Path) -> None:
    _, context = certificate(tmp_path, "IP:127.0.0.1")
    with FaultServer(tls=context) as server:
        message = "^the provider's TLS certificate is not trusted: self-signed certificate"
        with pytest.raises(ProviderConnectionError, match=message):
            await post(transport, server.url)
        assert server.requests == []


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    path, context = certificate(tmp_path, "DNS:other.example")
    transport = Transport(tls=ssl.create_default_context(cafile=path))
    message = "is not trusted: it is for another name$"
    with FaultServer(tls=context) as server, pytest.raises(ProviderConnectionError, match=message):
        await post(transport, server.url)
    await transport.aclose()


async def test_a_certificate_of_a_trusted_authority_is_accepted(tmp_path: Path) -> None:
    path, context = certificate(tmp_path, "IP:127.0.0.1")
    transport = Transport(tls=ssl.create_default_context(cafile=path))
    with FaultServer(tls=context) as server:
        assert TEXT.encode() in await post(transport, server.url)
        await transport.aclose()


async def test_a_server_without_tls_is_named(transport: Transport) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ProviderConnectionError, match=r"^TLS with the provider failed: "):
        await post(transport, f"https://127.0.0.1:{port}/")
    server.close()


async def test_a_name_that_does_not_resolve_is_named(transport: Transport) -> None:
    with pytest.raises(ProviderConnectionError, match=r"^the provider's name cannot be resolved$"):
        await post(transport, "https://x.invalid/v1")


async def test_a_refused_connection_is_named(transport: Transport) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets the port, and it refuses
        port = unused.getsockname()[1]
        with pytest.raises(ProviderConnectionError, match=r"^the provider refused the connection$"):
            await post(transport, f"http://127.0.0.1:{port}/v1")


async def test_connecting_has_a_deadline(transport: Transport) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # TCP connects, but nobody answers the TLS handshake
        port = silent.getsockname()[1]
        with pytest.raises(ProviderTimeoutError, match=r"^no connection to the provider within 0\.2 s$"):
            await post(transport, f"https://127.0.0.1:{port}/v1", connect_s=0.2)


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host/v1", "http://", "http://host:port/"])
async def test_an_address_that_is_none_is_refused(transport: Transport, url: str) -> None:
    with pytest.raises(ProviderConnectionError, match=r"^the provider's base_url cannot be used: expected "):
        await post(transport, url)


async def test_a_password_in_the_address_is_not_shown(transport: Transport) -> None:
    with pytest.raises(ProviderConnectionError, match="the key, a header or the base_url is malformed") as caught:
        await post(transport, "http://user:password@127.0.0.1:9/")
    assert "password" not in str(caught.value)


def test_a_key_that_http_cannot_carry_is_not_shown() -> None:
    with pytest.raises(ProviderConnectionError, match="HTTP cannot carry") as caught:
        encode_headers({"authorization": "Bearer schlüssel"})
    assert "schl" not in str(caught.value)


@pytest.mark.parametrize("header", [("x-note", "a\r\nx-more: b"), ("x\n", "a"), ("x-note", "a\0")])
def test_a_header_cannot_bring_another(header: tuple[str, str]) -> None:
    with pytest.raises(ProviderConnectionError, match="HTTP cannot carry"):
        encode_headers(dict([header]))


async def test_credentials_in_the_address_are_sent(transport: Transport) -> None:
    with FaultServer() as server:
        url = f"http://us%40er:pa%3Ass@127.0.0.1:{server.port}/v1?a=b%20c"
        async with await transport.send("POST", url, headers=encode_headers({}), body=BODY, connect_s=30) as response:
            await response.aread()
        seen = server.requests[0]
    assert seen.headers["authorization"] == f"Basic {base64.b64encode(b'us@er:pa:ss').decode()}"
    assert (seen.headers["host"], seen.path) == (f"127.0.0.1:{server.port}", "/v1?a=b%20c")


async def test_a_host_of_ones_own_is_sent_alone(transport: Transport) -> None:
    with FaultServer() as server:
        headers = encode_headers({"Host": "other.example"})
        async with await transport.send("POST", server.url, headers=headers, body=BODY, connect_s=30) as response:
            await response.aread()
        assert server.requests[0].headers["host"] == "other.example"


@asynccontextmanager
async def answering(*answers: bytes, reads: bool = True) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that gives its answers in turn, whatever is asked; to its head alone unless it `reads`.

    Gives its address, and how many answers each of its connections has had.
    """
    had: list[int] = []
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        had.append(0)
        number = len(had) - 1
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if reads:
                    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                else:
                    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a socket's
                writer.write(left.pop(0))
                had[number] += 1
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", had


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def test_a_connection_serves_one_call_after_another(transport: Transport) -> None:
    async with answering(ANSWER, ANSWER, ANSWER) as (url, had):
        assert [await post(transport, url) for _ in range(3)] == [b"{}"] * 3
        assert had == [3]
        await transport.aclose()


async def test_what_comes_before_the_answer_is_passed_over(transport: Transport) -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with answering(hints + ANSWER) as (url, _):
        assert await post(transport, url) == b"{}"
        await transport.aclose()


async def test_an_answer_to_half_a_request_ends_its_connection(transport: Transport) -> None:
    refusal = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\n{}"
    async with answering(refusal, refusal, reads=False) as (url, had):
        for _ in range(2):
            body = b"x" * 30_000_000  # more than the sockets' buffers hold
            async with await transport.send("POST", url, headers=HEADERS, body=body, connect_s=30) as response:
                assert (response.status, await response.aread()) == (413, b"{}")
        assert had == [1, 1]
        await transport.aclose()


async def test_a_proxy_from_the_environment_is_used(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as proxy:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "direct.invalid")
        assert TEXT.encode() in await post(transport, "http://provider.invalid/v1")
        assert proxy.requests[0].path == "http://provider.invalid/v1"
        with pytest.raises(ProviderConnectionError, match="name cannot be resolved"):
            await post(transport, "http://direct.invalid/v1")
        await transport.aclose()


async def test_a_proxys_password_is_sent_to_the_proxy(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as proxy:
        monkeypatch.setenv("http_proxy", f"http://us%40er:pa%3Ass@127.0.0.1:{proxy.port}")
        await post(transport, "http://provider.invalid/v1")
        sent = proxy.requests[0].headers
    assert sent["proxy-authorization"] == f"Basic {base64.b64encode(b'us@er:pa:ss').decode()}"
    assert sent["authorization"] == "Bearer key"


async def test_a_proxy_that_is_away_is_named(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ProviderConnectionError, match=r"^cannot connect to the proxy for the provider: "):
            await post(transport, "http://provider.invalid/v1")


async def test_the_body_has_a_limit(transport: Transport) -> None:
    with FaultServer() as server:
        response = await transport.send("POST", server.url, headers=HEADERS, body=BODY, connect_s=30)
        async with response:
            with pytest.raises(BadAnswerError, match="is over 10 bytes"):
                await response.aread(10)
        await response.aclose()  # twice does no harm


async def test_one_transport_serves_many_addresses(transport: Transport) -> None:
    with FaultServer() as first, FaultServer() as second:
        for server in (first, second):
            assert TEXT.encode() in await post(transport, server.url)


async def test_headers_are_found_whatever_their_case(transport: Transport) -> None:
    with FaultServer() as server:
        async with await transport.send("POST", server.url, headers=HEADERS, body=BODY, connect_s=30) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "application/json"


async def test_a_closed_transport_says_so() -> None:
    transport = Transport()
    await transport.aclose()
    with pytest.raises(ProviderConnectionError, match="the HTTP transport is closed"):
        await post(transport, "http://127.0.0.1:9/")


# --- what is ours, not the provider's --------------------------------------------------------------------------------


async def test_a_full_pool_is_waited_for_and_then_no_fault_of_the_provider() -> None:
    transport = Transport(max_connections=2)
    with FaultServer() as server:
        url = f"{server.url}/chat/completions"
        silent = b'{"model": "stall-after-2", "stream": true}'
        held = [await transport.send("POST", url, headers=HEADERS, body=silent, connect_s=30) for _ in range(2)]
        with pytest.raises(NoPlaceError, match="all 2 connections that the service may have to providers are in use"):
            await transport.send("POST", url, headers=HEADERS, body=BODY, connect_s=0.01)
        assert len(server.requests) == 2
        waiting = asyncio.create_task(post(transport, url))
        await asyncio.sleep(0)
        assert not waiting.done()
        await held[0].aclose()
        assert TEXT.encode() in await waiting
        await held[1].aclose()
    await transport.aclose()


async def test_a_place_is_given_back_however_a_call_ends() -> None:
    transport = Transport(max_connections=1)
    with FaultServer() as server:
        url = f"{server.url}/chat/completions"
        for body in (b'{"model": "reset"}', b'{"model": "close"}', b'{"model": "not-http"}'):
            with pytest.raises(ProviderError):
                await post(transport, url, body=body)
        with pytest.raises(ProviderConnectionError):
            await post(transport, "http://127.0.0.1:9/")
        left = asyncio.create_task(post(transport, url, body=b'{"model": "hang"}'))
        await asyncio.to_thread(server.wait_for_requests, 4)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert TEXT.encode() in await post(transport, url)
    await transport.aclose()


async def test_a_machine_without_room_is_no_fault_of_the_provider(transport: Transport) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as first_free:
        descriptor = first_free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor, hard))
    try:
        with pytest.raises(NoPlaceError, match="this machine has no room for another connection"):
            await transport.send("POST", "http://127.0.0.1:9/", headers=HEADERS, body=BODY, connect_s=30)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
