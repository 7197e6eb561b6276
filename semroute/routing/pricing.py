"""Tokens and money. Money is exact: `Decimal`, never `float`."""

from __future__ import annotations

from decimal import Decimal

from semroute.types import ChatRequest, Estimate, Image, Model, Policy, Text, ToolCall, ToolResult, Usage

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 800
MESSAGE_TOKENS = 4
_MILLION = Decimal(1_000_000)


def estimate_text_tokens(text: str) -> int:
    """About how many tokens a text has, without a tokenizer: a token for every four bytes of UTF-8.

    English has about 4.2 characters a token; scripts of three bytes a character have about 1.3 characters a token.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)


def estimate_input_tokens(request: ChatRequest) -> int:
    """About how many tokens a request sends: messages, pictures and tools."""
    total = 0
    for message in request.messages:
        total += MESSAGE_TOKENS
        for part in message.parts:
            match part:
                case Text(text=text) | ToolResult(text=text) | ToolCall(arguments=text):
                    total += estimate_text_tokens(text)
                case Image():
                    total += IMAGE_TOKENS
                case _:
                    pass
    return total + sum(
        estimate_text_tokens(tool.name + tool.description + str(tool.parameters)) for tool in request.tools
    )


def cost_usd(model: Model, usage: Usage) -> Decimal:
    """What a call cost, in USD, to the last digit."""
    cached_price = model.input_price if model.cached_input_price is None else model.cached_input_price
    fresh_tokens = max(0, usage.input_tokens - usage.cached_tokens)
    millionths = (
        fresh_tokens * model.input_price + usage.cached_tokens * cached_price + usage.output_tokens * model.output_price
    )
    return millionths / _MILLION


def estimate(model: Model | None, policy: Policy, input_tokens: int, max_tokens: int | None) -> Estimate:
    """What a call is likely to cost, before it is made."""
    output_tokens = policy.expected_output_tokens
    if max_tokens is not None:
        output_tokens = min(output_tokens, max_tokens)
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    return Estimate(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd(model, usage) if model else Decimal(0),
    )
