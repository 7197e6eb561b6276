"""The same things done through each client dialect, with its vendor's own SDK where there is one."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import openai
from google import genai

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TIME = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
FUNCTIONS = {"get_weather": ("The weather of a city.", WEATHER), "get_time": ("The time of a zone.", TIME)}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}


@dataclass
class Got:
    """What a client got."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Names and arguments."""
    finish: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    """`input`, `cached`, `output`, and what else the dialect tells; inclusive as the dialect counts."""


class OpenAIDriver:
    dialect = "openai"
    finishes = {"stop": "stop", "tools": "tool_calls"}
    usage = {"input": 20, "cached": 5, "written": 3, "output": 10, "reasoning": 4}
    error = openai.APIStatusError

    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        self.tools: list[Any] = [
            {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}
            for name, (about, schema) in FUNCTIONS.items()
        ]

    def ask(self, model: str, **options: Any) -> Got:
        messages = options.pop("messages", [{"role": "user", "content": "Hi"}])
        done: Any = self.client.chat.completions.create(model=model, messages=messages, **options)
        return self._got(done)

    def stream(self, model: str, **options: Any) -> Got:
        messages: Any = [{"role": "user", "content": "Hi"}]
        text = ""
        with self.client.chat.completions.stream(
            model=model, messages=messages, stream_options={"include_usage": True}, **options
        ) as stream:
            for event in stream:
                if event.type == "content.delta":
                    text += event.delta
            done = stream.get_final_completion()
        got = self._got(done)
        assert got.text == text
        return got

    def plain(self, model: str) -> Got:
        return self.ask(model)

    def call(self, model: str) -> Got:
        return self.ask(model, tools=self.tools, tool_choice="auto")

    def answer_tools(self, model: str) -> Got:
        """A second turn, with the results of the first."""
        first: Any = self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], tools=self.tools
        )
        said = first.choices[0].message.model_dump(exclude_none=True)
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"} for call in said["tool_calls"]]
        return self.ask(model, messages=[{"role": "user", "content": "Hi"}, said, *results], tools=self.tools)

    def stream_tools(self, model: str) -> Got:
        return self.stream(model, tools=self.tools)

    def image(self, model: str) -> Got:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        content = [{"type": "text", "text": "What is this?"}, picture]
        return self.ask(model, messages=[{"role": "user", "content": content}])

    def schema(self, model: str) -> Got:
        form = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
        return self.ask(model, response_format=form)

    def _got(self, done: Any) -> Got:
        choice = done.choices[0]
        calls = choice.message.tool_calls or []
        usage = done.usage
        return Got(
            text=choice.message.content or "",
            calls=[(call.function.name, json.loads(call.function.arguments)) for call in calls],
            finish=choice.finish_reason,
            usage={
                "input": usage.prompt_tokens,
                "cached": usage.prompt_tokens_details.cached_tokens,
                "written": usage.prompt_tokens_details.cache_write_tokens,
                "output": usage.completion_tokens,
                "reasoning": usage.completion_tokens_details.reasoning_tokens,
            },
        )


class ResponsesDriver:
    dialect = "responses"
    finishes = {"stop": "completed", "tools": "completed"}
    usage = {"input": 20, "cached": 5, "written": 3, "output": 10, "reasoning": 4}
    error = openai.APIStatusError

    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        self.tools: list[Any] = [
            {"type": "function", "name": name, "description": about, "parameters": schema, "strict": False}
            for name, (about, schema) in FUNCTIONS.items()
        ]

    def ask(self, model: str, **options: Any) -> Got:
        given = options.pop("input", "Hi")
        done: Any = self.client.responses.create(model=model, input=given, **options)
        return self._got(done)

    def stream(self, model: str, **options: Any) -> Got:
        text, numbers = "", []
        with self.client.responses.stream(model=model, input="Hi", **options) as stream:
            for event in stream:
                numbers.append(event.sequence_number)
                if event.type == "response.output_text.delta":
                    text += event.delta
            done = stream.get_final_response()
        assert numbers == list(range(len(numbers)))
        got = self._got(done)
        assert got.text == text
        return got

    def plain(self, model: str) -> Got:
        return self.ask(model)

    def call(self, model: str) -> Got:
        return self.ask(model, tools=self.tools)

    def answer_tools(self, model: str) -> Got:
        first: Any = self.client.responses.create(model=model, input="Hi", tools=self.tools)
        said = [item.model_dump(exclude_none=True) for item in first.output]
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "18 degrees"}
            for item in said
            if item["type"] == "function_call"
        ]
        return self.ask(model, input=[{"role": "user", "content": "Hi"}, *said, *results], tools=self.tools)

    def stream_tools(self, model: str) -> Got:
        return self.stream(model, tools=self.tools)

    def image(self, model: str) -> Got:
        picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
        content = [{"type": "input_text", "text": "What is this?"}, picture]
        return self.ask(model, input=[{"role": "user", "content": content}])

    def schema(self, model: str) -> Got:
        return self.ask(model, text={"format": {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}})

    def _got(self, done: Any) -> Got:
        calls = [item for item in done.output if item.type == "function_call"]
        return Got(
            text=done.output_text,
            calls=[(call.name, json.loads(call.arguments)) for call in calls],
            finish=done.status,
            usage={
                "input": done.usage.input_tokens,
                "cached": done.usage.input_tokens_details.cached_tokens,
                "written": done.usage.input_tokens_details.cache_write_tokens,
                "output": done.usage.output_tokens,
                "reasoning": done.usage.output_tokens_details.reasoning_tokens,
            },
        )


class AnthropicDriver:
    dialect = "anthropic"
    finishes = {"stop": "end_turn", "tools": "tool_use"}
    usage = {"input": 12, "cached": 5, "written": 3, "output": 10, "reasoning": 4}
    error = anthropic.APIStatusError

    def __init__(self, url: str) -> None:
        self.client = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)
        self.tools: list[Any] = [
            {"name": name, "description": about, "input_schema": schema} for name, (about, schema) in FUNCTIONS.items()
        ]

    def ask(self, model: str, **options: Any) -> Got:
        messages = options.pop("messages", [{"role": "user", "content": "Hi"}])
        return self._got(self.client.messages.create(model=model, max_tokens=500, messages=messages, **options))

    def stream(self, model: str, **options: Any) -> Got:
        with self.client.messages.stream(
            model=model, max_tokens=500, messages=[{"role": "user", "content": "Hi"}], **options
        ) as stream:
            text = "".join(stream.text_stream)
            done = stream.get_final_message()
        got = self._got(done)
        assert got.text == text
        return got

    def plain(self, model: str) -> Got:
        return self.ask(model)

    def call(self, model: str) -> Got:
        return self.ask(model, tools=self.tools)

    def answer_tools(self, model: str) -> Got:
        first = self.client.messages.create(
            model=model, max_tokens=500, messages=[{"role": "user", "content": "Hi"}], tools=self.tools
        )
        results: list[Any] = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "18 degrees"}
            for block in first.content
            if block.type == "tool_use"
        ]
        said = [block.model_dump(exclude_none=True) for block in first.content]
        turns = [{"role": "assistant", "content": said}, {"role": "user", "content": results}]
        return self.ask(model, messages=[{"role": "user", "content": "Hi"}, *turns], tools=self.tools)

    def stream_tools(self, model: str) -> Got:
        return self.stream(model, tools=self.tools)

    def image(self, model: str) -> Got:
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        content = [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]
        return self.ask(model, messages=[{"role": "user", "content": content}])

    def schema(self, model: str) -> Got:
        return self.ask(model, output_config={"format": {"type": "json_schema", "schema": CITY}})

    def _got(self, done: Any) -> Got:
        details = done.usage.output_tokens_details
        return Got(
            text="".join(block.text for block in done.content if block.type == "text"),
            calls=[(block.name, block.input) for block in done.content if block.type == "tool_use"],
            finish=done.stop_reason,
            usage={
                "input": done.usage.input_tokens,
                "cached": done.usage.cache_read_input_tokens,
                "written": done.usage.cache_creation_input_tokens,
                "output": done.usage.output_tokens,
                "reasoning": details.thinking_tokens if details else 0,
            },
        )


class GeminiDriver:
    dialect = "gemini"
    finishes = {"stop": "STOP", "tools": "STOP"}
    usage = {"input": 20, "cached": 5, "written": 0, "output": 6, "reasoning": 4}
    error = genai.errors.APIError

    def __init__(self, url: str) -> None:
        options = genai.types.HttpOptions(base_url=url)
        self.client = genai.Client(api_key="any", http_options=options)
        declared: list[Any] = [
            {"name": name, "description": about, "parameters_json_schema": schema}
            for name, (about, schema) in FUNCTIONS.items()
        ]
        self.tools: Any = {"tools": [{"function_declarations": declared}]}

    def ask(self, model: str, contents: Any = "Hi", config: Any = None) -> Got:
        return self._got([self.client.models.generate_content(model=model, contents=contents, config=config)])

    def stream(self, model: str, config: Any = None) -> Got:
        return self._got([*self.client.models.generate_content_stream(model=model, contents="Hi", config=config)])

    def plain(self, model: str) -> Got:
        return self.ask(model)

    def call(self, model: str) -> Got:
        return self.ask(model, config=self.tools)

    def answer_tools(self, model: str) -> Got:
        first = self.client.models.generate_content(model=model, contents="Hi", config=self.tools)
        assert first.candidates and first.function_calls
        results = [
            {"function_response": {"id": call.id, "name": call.name, "response": {"output": "18 degrees"}}}
            for call in first.function_calls
        ]
        turns = [{"role": "user", "parts": [{"text": "Hi"}]}, first.candidates[0].content]
        return self.ask(model, [*turns, {"role": "user", "parts": results}], self.tools)

    def stream_tools(self, model: str) -> Got:
        return self.stream(model, self.tools)

    def image(self, model: str) -> Got:
        picture = genai.types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png")
        return self.ask(model, ["What is this?", picture])

    def schema(self, model: str) -> Got:
        return self.ask(model, config={"response_mime_type": "application/json", "response_json_schema": CITY})

    def _got(self, pieces: list[Any]) -> Got:
        parts = [part for piece in pieces for part in piece.candidates[0].content.parts or ()]
        usage = pieces[-1].usage_metadata
        return Got(
            text="".join(part.text for part in parts if part.text and not part.thought),
            calls=[(part.function_call.name, part.function_call.args) for part in parts if part.function_call],
            finish=pieces[-1].candidates[0].finish_reason.value,
            usage={
                "input": usage.prompt_token_count,
                "cached": usage.cached_content_token_count,
                "written": 0,
                "output": usage.candidates_token_count,
                "reasoning": usage.thoughts_token_count,
            },
        )


class NativeDriver:
    dialect = "native"
    finishes = {"stop": "stop", "tools": "tool_calls"}
    usage = {"input": 20, "cached": 5, "written": 3, "output": 10, "reasoning": 4}
    error = httpx.HTTPStatusError

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, trust_env=False)
        self.tools = OpenAIDriver(url).tools

    def ask(self, model: str, **options: Any) -> Got:
        body = {"messages": [{"role": "user", "content": "Hi"}], **options, "model": model}
        answer = self.client.post("/complete", json=body)
        answer.raise_for_status()
        return self._got(answer.json())

    def stream(self, model: str, **options: Any) -> Got:
        whole: dict[str, Any] = {"content": "", "tool_calls": [], "finish_reason": ""}
        body = {"prompt": "Hi", "model": model, "stream": True, **options}
        with self.client.stream("POST", "/complete", json=body) as answer:
            name = ""
            for line in answer.iter_lines():
                kind, _, data = line.partition(": ")
                name = data if kind == "event" else name
                if kind == "data" and name == "delta":
                    delta = json.loads(data)
                    whole["content"] += delta.get("content", "")
                    whole["finish_reason"] = delta.get("finish_reason", whole["finish_reason"])
                    self._add(whole["tool_calls"], delta.get("tool_calls", ()))
                elif kind == "data" and name == "end":
                    whole |= {"usage": json.loads(data)["usage"]}
        return self._got(whole)

    def _add(self, calls: list[Any], pieces: Any) -> None:
        for piece in pieces:
            if piece.get("index", 0) == len(calls):
                calls.append({"name": piece["name"], "arguments": ""})
            calls[piece.get("index", 0)]["arguments"] += piece.get("arguments", "")

    def plain(self, model: str) -> Got:
        return self.ask(model)

    def call(self, model: str) -> Got:
        return self.ask(model, tools=self.tools)

    def answer_tools(self, model: str) -> Got:
        function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
        said = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
        result = {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"}
        return self.ask(model, messages=[{"role": "user", "content": "Hi"}, said, result], tools=self.tools)

    def stream_tools(self, model: str) -> Got:
        return self.stream(model, tools=self.tools)

    def image(self, model: str) -> Got:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        content = [{"type": "text", "text": "What is this?"}, picture]
        return self.ask(model, messages=[{"role": "user", "content": content}])

    def schema(self, model: str) -> Got:
        form = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
        return self.ask(model, response_format=form)

    def _got(self, body: dict[str, Any]) -> Got:
        usage = body["usage"]
        return Got(
            text=body["content"],
            calls=[(call["name"], json.loads(call["arguments"])) for call in body.get("tool_calls", ())],
            finish=body["finish_reason"],
            usage={
                "input": usage["input_tokens"],
                "cached": usage["cached_tokens"],
                "written": usage["cache_write_tokens"],
                "output": usage["output_tokens"],
                "reasoning": usage["reasoning_tokens"],
            },
        )


Driver = OpenAIDriver | ResponsesDriver | AnthropicDriver | GeminiDriver | NativeDriver
DRIVERS: dict[str, type[Driver]] = {
    "openai": OpenAIDriver,
    "responses": ResponsesDriver,
    "anthropic": AnthropicDriver,
    "gemini": GeminiDriver,
    "native": NativeDriver,
}
