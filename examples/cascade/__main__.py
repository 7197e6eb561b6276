"""A cascade: the small model answers first, and the large model only if that answer fails a check."""

from __future__ import annotations

from pathlib import Path

from examples.service import log_file, provider, service

EASY = "Extract the invoice number and the total: 'Invoice 4711, total 99.50 EUR'"
HARD = "Extract the invoice number and the total: 'our bill of May, see page 3, less the usual discount'"
SENSITIVE = "Extract the invoice number and the total from this letter of my doctor: '...'"


def reply(model: str, prompt: str) -> tuple[int, str]:
    """Return what the models say. The small one is good only at easy prompts."""
    if prompt == EASY or model == "large-model":
        return 200, '{"invoice": "4711", "total": 99.5}'
    if prompt == SENSITIVE:
        return 200, "I'm sorry, but I can't help with that."
    return 200, 'The invoice is from May: {"invoice": "May"}'


def main() -> None:
    """Ask three times, and show each attempt with the verdict of the checks."""
    with (
        provider(reply) as url,
        log_file() as log,
        service(Path(__file__).parent, log, STUB_URL=url) as client,
    ):
        for prompt in (EASY, HARD, SENSITIVE):
            found = client.post("/complete", json={"prompt": prompt}).raise_for_status().json()
            print(prompt)
            for attempt in found["attempts"]:
                verdict = f"not enough: {attempt['escalated']}" if attempt["escalated"] else "passed all checks"
                print(f"  {attempt['model']:<6} {attempt['cost_usd']:.6f} USD  {verdict}")
            print(f"  answer: {found['content']}  {found['cost_usd']:.6f} USD in all")


if __name__ == "__main__":
    main()
