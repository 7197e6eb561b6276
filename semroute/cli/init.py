"""`semroute init DIR`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from semroute.cli.output import console
from semroute.config.jsonschema import json_schema

MODELS = """\
# yaml-language-server: $schema=./schema.json
# Providers serve models. Their keys come from the environment. If a key is not set, its provider is skipped.
providers:
  openai: {dialect: responses, base_url: https://api.openai.com/v1, api_key: "${OPENAI_API_KEY}"}
  # Any server that speaks OpenAI's dialect: Groq, Mistral, vLLM, Ollama, …
  local: {dialect: openai, base_url: http://localhost:11434/v1}

# The ids on the left are yours. Prices are in USD for one million tokens.
models:
  small: {provider: openai, name: gpt-6-luna, tier: simple, input_price: 0.10, output_price: 0.50,
          quality: 0.74, context_tokens: 272000, features: [tools, json, vision, reasoning]}
  large: {provider: openai, name: gpt-6.1-sol, tier: complex, input_price: 2.00, output_price: 10.00,
          quality: 0.93, context_tokens: 272000, features: [tools, json, vision, reasoning]}
  # offline: {provider: local, name: "llama3.2", tier: simple}

# Prompts that match no route with confidence go to the strong model.
default:
  models: [large]
"""

ROUTES = """\
# yaml-language-server: $schema=./schema.json
# A route is an intent: what a prompt may be about, and the models that serve it, in the order in which they are tried.
routes:
  - name: billing
    description: Invoices, refunds and payment problems.
    # Example prompts. Write ten or more, as varied as your users: short and long, questions and orders, with typos.
    utterances:
      - why was I charged twice this month
      - I want my money back
      - where can I download my last invoice
      - my card was declined but the money is gone
      - cancel my subscription and refund the rest
      - what does the pro plan cost per seat
      - can you change the VAT number on the bill
      - how do I update the credit card you have on file
      - do you offer a discount for yearly payment
      - there is a charge on my statement I don't recognise
    models: [small, large]

  - name: coding
    description: Writing, explaining and repairing programs.
    utterances:
      - write a python function that merges two sorted lists
      - why does this loop never end
      - "explain this error: KeyError: 'id'"
      - refactor this class so that it can be tested
      - how do I undo the last git commit without losing my changes
      - turn this callback code into async await
      - add type hints to the following module
      - what is the time complexity of this algorithm
      - my react component renders twice, what is wrong
      - write a dockerfile for a small flask app
    models: [large, small]

# Rules are tried before a prompt is matched with routes. The first rule that holds decides.
rules:
  - {name: long-documents, when: {input_tokens: {gt: 50000}}, models: [large]}
"""


def command(folder: Path, force: bool) -> None:
    """Write the starter folder."""
    files = {"models.yaml": MODELS, "routes.yaml": ROUTES, "schema.json": json.dumps(json_schema(), indent=2) + "\n"}
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        advice = "name another folder, or overwrite them with --force"
        raise click.UsageError(f"{folder} has {', '.join(there)} already; {advice}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be written: {error.strerror}") from None
    console.print(f"wrote {', '.join(files)} to {folder}", markup=False, highlight=False)
    console.print(f'next: semroute check {folder}; semroute route --routes {folder} "…"', markup=False, highlight=False)
