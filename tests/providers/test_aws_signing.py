"""Signatures, checked by hand against what arrives, and where the credentials for them come from."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import Timeouts
from semroute.config.schema.routes import Default
from semroute.errors import ProviderAuthError, ProviderTimeoutError
from semroute.messages import ChatRequest, Message, Text
from semroute.providers import trace_context
from semroute.providers.provider import Provider, open_providers
from semroute.providers.transport import Transport
from tests.vendors.bedrock import BedrockVendor
from tests.vendors.server import GREETING, Refused, Seen, VendorServer

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"
CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-5-sonnet-20240620-v1:0"
PATIENT = Timeouts(connect_s=30, first_token_s=30, stall_s=30, total_s=30)
HI = (Message(role="user", parts=(Text(text="Grüße"),)),)


def signature(seen: Seen, secret: str) -> str:
    """The signature that a request must have, by the published steps and without a library of Amazon's.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
    """
    given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=[^/]+/(\S+), SignedHeaders=(\S+), Signature=[0-9a-f]{64}",
        seen.headers["authorization"],
    )
    assert given is not None
    scope, names = given.groups()
    headers = "".join(f"{name}:{' '.join(seen.headers[name].split())}\n" for name in names.split(";"))
    path = quote(seen.path, safe="/-_.~")  # encoded once more: https is not S3
    canonical = f"POST\n{path}\n\n{headers}\n{names}\n{hashlib.sha256(seen.raw).hexdigest()}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{seen.headers['x-amz-date']}\n{scope}\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def signed(seen: Seen, secret: str) -> bool:
    return seen.headers["authorization"].endswith(f"Signature={signature(seen, secret)}")


class QuotingVendor(BedrockVendor):
    """Refuses as AWS does where a signature does not match: with what it should have been made of."""

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        if "quoting" in path:
            told = f"The Canonical String is 'POST x-amz-security-token:{headers['x-amz-security-token']}'"
            raise Refused(403, {"message": told}, {"x-amzn-errortype": "InvalidSignatureException"})
        return super().answer(path, headers, body)


@pytest.fixture(scope="module")
def server() -> Iterator[VendorServer]:
    with VendorServer(QuotingVendor()) as server:
        yield server


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own AWS settings."""
    for name in ("PROFILE", "DEFAULT_PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("CONTAINER_CREDENTIALS_RELATIVE_URI", "CONTAINER_CREDENTIALS_FULL_URI", "WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


@pytest.fixture
async def open_bedrock(server: VendorServer) -> AsyncIterator[Callable[..., Provider]]:
    transport = Transport()

    def opened(**fields: Any) -> Provider:
        settings = ProviderSettings(id="p", dialect="bedrock", base_url=server.url, region="eu-central-1", **fields)
        config = Config(providers={"p": settings}, models={}, default=Default(models=("m",)), routes={})
        return open_providers(config, transport)["p"]

    yield opened
    await transport.aclose()


async def ask(provider: Provider, name: str = CLAUDE, timeouts: Timeouts = PATIENT) -> str:
    model = Model(id="m", provider="p", name=name)
    return (await provider.complete(ChatRequest(id="1", messages=HI), model, timeouts)).text


# --- signatures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [CLAUDE, PROFILE, "a_model.of/1-part:2"])
async def test_what_is_sent_is_what_was_signed(
    open_bedrock: Callable[..., Provider], server: VendorServer, environment: None, name: str
) -> None:
    provider = open_bedrock(headers={"X-Amzn-Team": "blue  team", "User-Agent": "acme"})
    model = Model(id="m", provider="p", name=name)
    assert await ask(provider, name) == "".join(GREETING)
    chunks = provider.stream(ChatRequest(id="1", messages=HI, stream=True), model, PATIENT)
    assert [part async for chunk in chunks for part in chunk.parts] == [Text(text=piece) for piece in GREETING]
    whole, seen = server.requests[-2:]
    path = f"/model/{quote(name, safe=':')}"
    assert (whole.path, seen.path) == (f"{path}/converse", f"{path}/converse-stream")
    assert signed(whole, SECRET)
    assert signed(seen, SECRET)
    assert not signed(seen, "another secret")
    assert "/eu-central-1/bedrock/aws4_request, " in seen.headers["authorization"]
    assert "content-type;host;x-amz-date;x-amz-security-token;x-amzn-team," in seen.headers["authorization"]
    assert (seen.headers["x-amz-security-token"], seen.headers["user-agent"]) == (TOKEN, "acme")


async def test_a_trace_is_passed_on_unsigned(
    open_bedrock: Callable[..., Provider], server: VendorServer, environment: None
) -> None:
    reset = trace_context.trace.set({"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    await ask(open_bedrock())
    trace_context.trace.reset(reset)
    assert server.last.headers["traceparent"].startswith("00-1")
    assert "traceparent" not in server.last.headers["authorization"]
    assert signed(server.last, SECRET)


async def test_a_key_or_a_header_of_ones_own_stands_for_the_signature(
    open_bedrock: Callable[..., Provider], server: VendorServer, environment: None
) -> None:
    for fields in ({"api_key": "key-0123456789"}, {"headers": {"Authorization": "Bearer key-0123456789"}}):
        await ask(open_bedrock(**fields))
        assert server.last.headers["authorization"] == "Bearer key-0123456789"
        assert "x-amz-date" not in server.last.headers


async def test_neither_an_error_nor_a_log_tells_the_token(
    open_bedrock: Callable[..., Provider], environment: None, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ProviderAuthError, match=r"x-amz-security-token:\*\*\*") as caught,
    ):
        await ask(open_bedrock(), "quoting")
    assert TOKEN.encode() not in (caught.value.body or b"")
    assert TOKEN not in caplog.text
    assert SECRET not in caplog.text


# --- credentials ------------------------------------------------------------------------------------------------------


class Process:
    """A `credential_process`: a program that AWS's tools run for credentials. Each run gives others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._script = folder / "credentials.py"
        self._script.write_text(
            textwrap.dedent(
                """\
                import json, pathlib, sys, time
                folder = pathlib.Path(__file__).parent
                with (folder / "runs").open("a") as runs:
                    runs.write("x")
                nth = len((folder / "runs").read_text())
                plan = json.loads((folder / "plan").read_text())
                while plan["waits"] and not (folder / "go").exists():
                    time.sleep(0.01)
                if nth > len(plan["expire"]):
                    sys.exit("no more credentials")
                told = {"Version": 1, "AccessKeyId": f"AKID{nth}", "SecretAccessKey": f"secret-{nth}"}
                json.dump({**told, "SessionToken": "token", "Expiration": plan["expire"][nth - 1]}, sys.stdout)
                """
            )
        )
        (folder / "config").write_text(
            f"[default]\ncredential_process = {sys.executable} {self._script}\nregion = eu-central-1\n"
        )

    def plan(self, *lives_s: float, waits: bool = False) -> None:
        """How long what each run gives will live; what comes after them is a failure. `waits`: for `go`."""
        expire = [(datetime.now(UTC) + timedelta(seconds=life_s)).isoformat() for life_s in lives_s]
        (self._folder / "plan").write_text(json.dumps({"expire": expire, "waits": waits}))

    def go(self) -> None:
        """Let a run that waits give what it has."""
        (self._folder / "go").touch()

    @property
    def runs(self) -> int:
        runs = self._folder / "runs"
        return len(runs.read_text()) if runs.exists() else 0


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


def signer(seen: Seen) -> str:
    """The credentials that a request was signed with."""
    key = seen.headers["authorization"].partition("Credential=")[2].partition("/")[0]
    assert signed(seen, f"secret-{key.removeprefix('AKID')}")
    return key


async def test_credentials_are_fetched_once_for_many_calls(
    open_bedrock: Callable[..., Provider], server: VendorServer, process: Process
) -> None:
    process.plan(3600)
    provider = open_bedrock()
    assert process.runs == 0  # nothing is called before the first request
    await asyncio.gather(*(ask(provider) for _ in range(20)))
    await ask(provider)
    assert process.runs == 1
    assert {signer(seen) for seen in server.requests[-21:]} == {"AKID1"}


async def test_credentials_are_renewed_before_they_expire_while_calls_go_on(
    open_bedrock: Callable[..., Provider], server: VendorServer, process: Process
) -> None:
    process.plan(700, 3600)  # botocore renews from 15 minutes before the end, and insists on it from 10
    provider = open_bedrock()
    await ask(provider)
    deadline = time.monotonic() + 20
    while signer(server.last) == "AKID1" and time.monotonic() < deadline:
        await ask(provider)
        await asyncio.sleep(0.01)
    assert (signer(server.last), process.runs) == ("AKID2", 2)


async def test_a_call_waits_for_others_where_the_credentials_have_expired(
    open_bedrock: Callable[..., Provider], server: VendorServer, process: Process
) -> None:
    process.plan(20, 30, 3600)  # what is found first is renewed at once, and what that gives still is too short
    provider = open_bedrock()
    await ask(provider)
    await ask(provider)
    assert (signer(server.last), process.runs) == ("AKID3", 3)


async def test_a_renewal_that_fails_leaves_what_is_still_good(
    open_bedrock: Callable[..., Provider],
    server: VendorServer,
    process: Process,
    caplog: pytest.LogCaptureFixture,
) -> None:
    process.plan(700)
    provider = open_bedrock()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await ask(provider) == "".join(GREETING)
            await asyncio.sleep(0.1)
    assert signer(server.last) == "AKID1"


async def test_a_slow_source_counts_for_the_calls_deadline_and_serves_the_next(
    open_bedrock: Callable[..., Provider], process: Process
) -> None:
    process.plan(3600, waits=True)
    provider = open_bedrock()
    with pytest.raises(ProviderTimeoutError, match=r"no answer within 0\.2 s"):
        await ask(provider, timeouts=Timeouts(connect_s=30, total_s=0.2))
    process.go()
    await ask(provider)
    assert process.runs == 1


async def test_credentials_that_are_missing_or_wrong_are_our_fault(
    open_bedrock: Callable[..., Provider], process: Process, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process.plan()
    with pytest.raises(ProviderAuthError, match=r"the AWS credentials cannot be used: .*no more credentials"):
        await ask(open_bedrock())
    (tmp_path / "config").unlink()
    provider = open_bedrock()
    with pytest.raises(ProviderAuthError, match="no AWS credentials were found, and the provider has no `api_key`"):
        await ask(provider)
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = secret-A\n")
    assert await ask(open_bedrock()) == "".join(GREETING)
    provider, refused = open_bedrock(), Model(id="m", provider="p", name="status-403")
    with pytest.raises(ProviderAuthError, match="the vendor says no"):
        await anext(provider.stream(ChatRequest(id="1", messages=HI, stream=True), refused, PATIENT))
