from __future__ import annotations

import pytest

from semroute.config.check_alarms import webhook_key
from tests.config.reading import Read, said, sound
from tests.config.test_check_config import route


def test_nothing_is_watched_unless_it_is_written(read_files: Read) -> None:
    assert sound(read_files(x=route())).alarms is None
    alarms = sound(read_files(x=f"{route()}alarms: {{}}")).alarms
    assert alarms is not None
    assert (alarms.watch, alarms.webhook) == (("prompts", "in_scope", "quality"), None)


@pytest.mark.parametrize(
    "url",
    [
        *("hooks.example.com", "ftp://hooks.example.com/x", "https://", "https://host:0/", "https://host:99999/"),
        *("https://a b.example.com/", "https://example.com/é"),
    ],
)
def test_an_address_that_cannot_be_called_is_an_error_that_does_not_repeat_it(read_files: Read, url: str) -> None:
    [problem] = said(read_files(x=f'{route()}alarms: {{webhook: {{url: "{url}"}}}}'))
    expected = "expected a whole address that starts with https:// or http://"
    assert problem == f"x.yaml:5 $.alarms.webhook.url: got something else, {expected}"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", "whsec_YQ"])
def test_a_secret_that_is_no_base64_is_an_error_that_does_not_repeat_it(read_files: Read, secret: str) -> None:
    [problem] = said(read_files(x=f'{route()}alarms: {{webhook: {{url: "https://x.example", secret: "{secret}"}}}}'))
    assert problem.startswith("x.yaml:5 $.alarms.webhook.secret: got something else, expected a key in base64")
    assert secret not in problem.replace("after whsec_", "")


def test_a_secret_is_a_text_or_a_key_in_base64() -> None:
    assert webhook_key("any text") == b"any text"
    assert webhook_key("whsec_YWJj") == b"abc"


@pytest.mark.parametrize("value", ["{url: [https://token.example]}", "{url: https://a.example, secret: 17}", "token"])
def test_no_message_repeats_what_is_written_in_a_webhook(read_files: Read, value: str) -> None:
    [problem] = said(read_files(x=f"{route()}alarms: {{webhook: {value}}}"))
    assert not {"token", "17"} & set(problem.replace(".", " ").replace('"', " ").split())


def test_alarms_that_have_nothing_to_read_are_doubtful(read_files: Read) -> None:
    text = f"{route()}alarms: {{WATCH}}\nlog: {{embedding: false}}"
    [problem] = said(read_files(x=text.replace("WATCH", "watch: [prompts]")))
    assert problem.startswith("x.yaml:5 $.alarms: `log.embedding` is false")
    assert said(read_files(x=text.replace("WATCH", "watch: [quality]"))) == []


def test_retries_without_embeddings_are_doubtful(read_files: Read) -> None:
    [problem] = said(read_files(x=f"{route()}log: {{embedding: false, retry_minutes: 5}}"))
    assert problem.startswith("x.yaml:5 $.log.retry_minutes: `embedding` is false, so retries cannot be found")
    assert said(read_files(x=f"{route()}log: {{retry_minutes: 5}}")) == []


@pytest.mark.parametrize(
    "wrong", ["watch: []", "watch: [drift]", "reference_requests: 100", "quality_drop: 0", "reference_scores: 3"]
)
def test_values_out_of_bounds_are_errors(read_files: Read, wrong: str) -> None:
    [problem] = said(read_files(x=f"{route()}alarms: {{{wrong}}}"))
    assert problem.startswith(f"x.yaml:5 $.alarms.{wrong.partition(':')[0]}")
