from __future__ import annotations

import time

import pytest

from semroute.stores.log_content import can_redact, redact, text_to_keep, without_prompt

TEXT = """Mail bob.smith@example.com, card 4111 1111 1111 1111, phone +1 (555) 123-4567, SSN 123-45-6789.
key sk-proj-abcdefGHIJ1234567890abcd and ghp_abcdefghijklmnopqrstuvwxyz0123456789, AKIAIOSFODNN7EXAMPLE
password = 'hunter2hunter2'
my password: correct-horse-battery
He said "hello" and gave me 9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c
Nothing else is to be hidden: the implementation of authentication mechanisms, a password reset that does not work,
def merge_sorted_lists(first_list, second_list), die Wirtschaftswissenschaften, internationalization."""


def test_what_is_kept_is_what_was_asked_for() -> None:
    assert text_to_keep("hello", "none") is None
    assert text_to_keep(None, "full") is None
    assert text_to_keep("hello", "full") == "hello"
    assert text_to_keep("hello", "hash") == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_redaction_hides_keys_mails_cards_and_numbers() -> None:
    assert can_redact()
    redacted = redact(TEXT)
    secrets = (
        "bob.smith",
        "4111",
        "123-4567",
        "123-45-6789",
        "abcdefGHIJ",
        "ghp_abc",
        "AKIAIOSFODNN7EXAMPLE",
        "hunter2",
        "9f8a7b6c",
        "correct-horse",
    )
    assert [secret for secret in secrets if secret in redacted] == []
    assert TEXT.partition("Nothing else")[2] in redacted
    assert text_to_keep(TEXT, "redacted") == redacted


def test_an_error_does_not_quote_the_prompt() -> None:
    error = "400: invalid content 'my name is Bob and\n' in messages"
    assert without_prompt(error, "Hello there\nmy name is Bob and") == "400: invalid content '[prompt]\n' in messages"
    assert without_prompt("no", "no") == "no"
    assert without_prompt(None, "x") is None
    assert len(without_prompt("x" * 9999, "y") or "") == 500
    assert without_prompt("status 400: aaaa", "a" * 2_000_000) == (
        "status 400: [the prompt is too long to look for it here]"
    )


@pytest.mark.parametrize("piece", ["aB3$", "sk-", "word ", "a@", "1-", "api_key="])
def test_the_time_to_redact_does_not_grow_with_the_text(piece: str) -> None:
    def cpu_s(size: int) -> float:
        begun = time.process_time()
        text_to_keep(piece * (size // len(piece)), "redacted")
        return time.process_time() - begun

    cpu_s(100)
    assert cpu_s(1_000_000) < 4 * max(cpu_s(20_000), 0.02)


def test_long_texts_are_redacted_at_both_ends_and_lines_wherever_a_secret_stands() -> None:
    secret = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    for place in range(700, 1300, 50):
        assert secret not in redact("x " * (place // 2) + secret + " y" * 1000)
    kept_of_it = text_to_keep("a" * 500_000 + " " + secret, "redacted") or ""
    assert len(kept_of_it) < 17_000
    assert secret not in kept_of_it
