from __future__ import annotations

import pytest

from semroute.config.presets import PLAIN, PRESETS, preset_of


@pytest.mark.parametrize("name", PRESETS)
def test_a_vendors_own_host_means_its_preset(name: str) -> None:
    preset = PRESETS[name]  # type: ignore[index]  # they are named by a literal
    known = preset.base_url.startswith("https://")
    assert preset_of(None, preset.base_url) is (preset if known else PLAIN)
    assert preset_of(None, preset.base_url.upper().replace("HTTPS", "https")) is (preset if known else PLAIN)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://127.0.0.1:8000/v1",
        "http://localhost:11434/v1",
        "https://api.groq.com.example/openai/v1",
        "https://example.com/api.groq.com",
        "https://us.openai.azure.com/openai/v1",
    ],
)
def test_any_other_host_means_none(address: str) -> None:
    assert preset_of(None, address) is PLAIN


def test_a_preset_that_is_named_counts_whatever_the_host() -> None:
    assert preset_of("vllm", "https://api.openai.com/v1") is PRESETS["vllm"]
