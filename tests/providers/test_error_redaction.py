from __future__ import annotations

import pytest

from semroute.providers.error_redaction import SOMEWHERE, place_of


@pytest.mark.parametrize(
    ("base_url", "text"),
    [
        ("http://10.0.0.5:8000/v1", "no route to http://10.0.0.5:8000/v1, try later"),
        ("http://user:secret@10.0.0.5:8000/v1/", "no route to http://user:secret@10.0.0.5:8000/v1, try later"),
        ("http://user:secret@10.0.0.5:8000/v1", "no route to http://10.0.0.5:8000/v1, try later"),
        ("http://10.0.0.5:8000/v1", "no route to 10.0.0.5:8000, try later"),
        ("http://10.0.0.5:8000/v1", "no route to 10.0.0.5 port 8000, try later"),
        ("http://10.0.0.5:8000/v1", "no route to 10.0.0.5 Port: 8000, try later"),
        ("http://10.0.0.5:8000", "no route to 10.0.0.5', port=8000, try later"),  # requests: host='…', port=8000
        ("http://10.0.0.5:8000/v1", "no route to 10.0.0.5, try later"),
        ("https://api.example.com/v1", "no route to API.Example.com:443, try later"),
        ("https://api.example.com/v1", "no route to https://api.example.com/v1, try later"),
        ("http://[::1]:8000/v1", "no route to [::1]:8000, try later"),
        ("http://[::1]:8000/v1", "no route to ::1, try later"),
        ("http://vllm:8000/v1", "no route to vllm:8000, try later"),
        ("http://vllm:8000/v1", "no route to http://vllm, try later"),
        ("http://vllm:8000/v1", "no route to 172.18.0.4:8000, try later"),
    ],
)
def test_an_address_is_found_however_it_is_written(base_url: str, text: str) -> None:
    place = place_of(base_url)
    assert place is not None
    assert place.sub(SOMEWHERE, text) == "no route to the provider, try later"


@pytest.mark.parametrize(
    ("base_url", "text"),
    [
        ("http://ollama:11434", "ollama does not know the model; 11434 tokens"),
        ("https://api.example.com/v1", "see https://docs.example.com or write to help@myapi.example.com"),
        ("https://api.example.com/v1", "see https://api.example.community/443"),
        ("http://10.0.0.5:8000/v1", "the picture at http://110.0.0.5:80/x.png cannot be read"),
        ("http://10.0.0.5:8000/v1", "at most 8000 tokens"),
    ],
)
def test_what_is_no_address_of_it_stays(base_url: str, text: str) -> None:
    place = place_of(base_url)
    assert place is not None
    assert place.sub(SOMEWHERE, text) == text


@pytest.mark.parametrize("base_url", ["", "nowhere", "http://", "http://[::1/v1", "http://host:99999999/v1"])
def test_an_address_that_cannot_be_read_is_found_nowhere(base_url: str) -> None:
    assert place_of(base_url) is None


@pytest.mark.parametrize("text", ["10.0.0.5" + " " * 60_000, "http://" + "a" * 60_000, "10.0.0." * 10_000])
def test_a_long_text_is_looked_through_once(text: str) -> None:
    place = place_of("http://10.0.0.5:8000/v1")
    assert place is not None
    assert place.sub(SOMEWHERE, text).endswith(text[-1])
