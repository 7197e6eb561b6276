"""What JavaScript libraries make of a stream that breaks off, and of one of Gemini's that waits."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_keep_alive import sent
from tests.clients import installed, needed
from tests.clients.breaking import SERVED, BrokenWorld, Recorded, broken_world
from tests.dialects.test_broken_streams import SAY
from tests.vendors.server import GREETING, VendorServer

pytestmark = pytest.mark.clients

LIBRARIES = {
    "openai": "6.49.0",
    "@anthropic-ai/sdk": "1.14.0",
    "@google/genai": "2.32.0",
    "genai-1-30": "npm:@google/genai@1.30.0",  # Gemini CLI 0.61 has it
    "@google/generative-ai": "0.24.1",  # LangChain's integration 2.3 has it
    "ai": "6.0.326",
    "@ai-sdk/openai": "3.0.141",
    "@ai-sdk/anthropic": "3.0.140",
    "@ai-sdk/google": "3.0.141",
}
SCRIPT = """
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import {GoogleGenAI} from '@google/genai';
import {GoogleGenAI as GoogleGenAI130} from 'genai-1-30';
import {GoogleGenerativeAI} from '@google/generative-ai';
import {streamText} from 'ai';
import {createOpenAI} from '@ai-sdk/openai';
import {createAnthropic} from '@ai-sdk/anthropic';
import {createGoogleGenerativeAI} from '@ai-sdk/google';

globalThis.AI_SDK_LOG_WARNINGS = false;
const [url, ...models] = process.argv.slice(2);
const messages = [{role: 'user', content: 'Hi'}];
const openai = new OpenAI({baseURL: url + '/v1', apiKey: 'any'});
const claude = new Anthropic({baseURL: url, apiKey: 'any'});

async function sdk(model, hear) {
  let failure;
  const stream = streamText({model, prompt: 'Hi', maxRetries: 0, onError: () => {}});
  for await (const part of stream.fullStream) {
    if (part.type === 'text-delta') hear(part.text);
    if (part.type === 'error') failure ??= part.error;
  }
  if (failure) throw failure;
}
const gemini = (Client) => async (model, hear) => {
  const client = new Client({apiKey: 'any', httpOptions: {baseUrl: url}});
  const stream = await client.models.generateContentStream({model, contents: 'Hi'});
  for await (const piece of stream) hear(piece.text ?? '');
};
const asks = {
  'openai chat': async (model, hear) => {
    const stream = await openai.chat.completions.create({model, messages, stream: true});
    for await (const chunk of stream) hear(chunk.choices[0]?.delta?.content ?? '');
  },
  'openai chat helper': async (model, hear) => {
    for await (const chunk of openai.chat.completions.stream({model, messages}))
      hear(chunk.choices[0]?.delta?.content ?? '');
  },
  'openai responses': async (model, hear) => {
    for await (const event of await openai.responses.create({model, input: 'Hi', stream: true}))
      if (event.type === 'response.output_text.delta') hear(event.delta);
  },
  'openai responses helper': async (model, hear) => {
    for await (const event of openai.responses.stream({model, input: 'Hi'}))
      if (event.type === 'response.output_text.delta') hear(event.delta);
  },
  'anthropic': async (model, hear) => {
    const stream = await claude.messages.create({model, max_tokens: 99, messages, stream: true});
    for await (const event of stream) if (event.type === 'content_block_delta') hear(event.delta.text ?? '');
  },
  'anthropic helper': async (model, hear) => {
    for await (const event of claude.messages.stream({model, max_tokens: 99, messages}))
      if (event.type === 'content_block_delta') hear(event.delta.text ?? '');
  },
  'genai': gemini(GoogleGenAI),
  'genai 1.30': gemini(GoogleGenAI130),
  'generative-ai': async (model, hear) => {
    const client = new GoogleGenerativeAI('any').getGenerativeModel({model}, {baseUrl: url});
    const {stream, response} = await client.generateContentStream('Hi');
    response.catch(() => {});
    for await (const piece of stream) hear(piece.text());
  },
  'ai chat': (model, hear) => sdk(createOpenAI({baseURL: url + '/v1', apiKey: 'any'}).chat(model), hear),
  'ai responses': (model, hear) => sdk(createOpenAI({baseURL: url + '/v1', apiKey: 'any'})(model), hear),
  'ai anthropic': (model, hear) => sdk(createAnthropic({baseURL: url + '/v1', apiKey: 'any'})(model), hear),
  'ai google': (model, hear) => sdk(createGoogleGenerativeAI({baseURL: url + '/v1beta', apiKey: 'any'})(model), hear),
};
const only = process.env.ONLY?.split(',') ?? Object.keys(asks);
const out = [];
for (const model of models) for (const name of only) {
  let heard = '', failed = null;
  try { await asks[name](model, (text) => { heard += text; }); }
  catch (error) { failed = `${error} ${JSON.stringify(error)}`; }
  out.push({model, name, heard, failed});
}
console.log(JSON.stringify(out));
process.exit(0);
"""
WORDLESS = {
    "generative-ai": ("Failed to parse stream",),
    # It names the cause where it comes by itself, which is for the network to say.
    "genai 1.30": ("Incomplete JSON segment at the end",),
}
"""What old libraries of Google's say of every error inside a stream."""
GOOGLES = ["genai", "genai 1.30", "generative-ai", "ai google"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokenWorld]:
    with broken_world(tmp_path_factory.mktemp("broken")) as running:
        yield running


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text(json.dumps({"type": "module", "dependencies": LIBRARIES}))
    if not installed.ready("newest"):
        needed.missing("Node: python -m tests.clients.installed")
    subprocess.run([*installed.npm(), "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    (folder / "ask.js").write_text(SCRIPT)
    return folder / "ask.js"


def asked(script: Path, url: str, *models: str, only: list[str] | None = None) -> dict[tuple[str, str], Any]:
    """What each library heard of each model, and what it raised."""
    environ = {**os.environ, **({"ONLY": ",".join(only)} if only else {})}
    command = [str(installed.node()), script.name, url, *models]
    done = subprocess.run(command, cwd=script.parent, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {(got["model"], got["name"]): got for got in json.loads(done.stdout)}


def test_a_stream_that_breaks_off_is_raised_with_its_cause(world: BrokenWorld, script: Path) -> None:
    told, cut = ([f"{kind}-{provider}" for provider in SERVED] for kind in ("told", "cut"))
    got = asked(script, world.service.url, *told, *cut)
    assert len(got) == 2 * len(SERVED) * 13
    for (model, name), each in got.items():
        assert each["failed"] is not None, f"{name} takes what {model} sends for a whole answer"
        why = (SAY if model in told else "the stream ended before", *WORDLESS.get(name, ()))
        assert any(words in each["failed"] for words in why), f"{name}, {model}: {each}"
        assert each["heard"] == GREETING[0], f"{name}, {model}: {each}"


async def test_geminis_libraries_take_what_keeps_a_stream_alive(script: Path) -> None:
    with VendorServer(Recorded(await sent("gemini"))) as server:
        got = asked(script, server.url, "any", only=GOOGLES)
    assert {name: (each["heard"], each["failed"]) for (_, name), each in got.items()} == dict.fromkeys(
        GOOGLES, ("Hello you.", None)
    )


async def test_geminis_libraries_raise_also_after_a_wait(script: Path) -> None:
    with VendorServer(Recorded(await sent("gemini", broken=True))) as server:
        got = asked(script, server.url, "any", only=GOOGLES)
    for (_, name), each in got.items():
        assert each["failed"] is not None, name
        assert any(words in each["failed"] for words in ("cut", *WORDLESS.get(name, ()))), f"{name}: {each}"
