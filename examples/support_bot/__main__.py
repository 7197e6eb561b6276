"""A support bot: each message of a customer goes to the cheapest model that is good enough for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.service import log_file, service

CONVERSATION = [
    "Hi, is anybody there?",
    "You charged my card two times for the same order!",
    "ok, and why?",
    "If this is not fixed I will talk to my lawyer.",
]
OTHER_CUSTOMERS = ["My package still has not come.", "Which of your investors sit on the board?"]


def main() -> None:
    """Send a conversation, and the first messages of two other customers."""
    with log_file() as log, service(Path(__file__).parent, log) as client:
        print("One conversation:")
        messages: list[dict[str, str]] = []
        for text in CONVERSATION:
            messages.append({"role": "user", "content": text})
            # The header keeps the turns of one customer together; OpenAI's `user` field does so as well.
            answer = client.post("/complete", json={"messages": messages}, headers={"x-semroute-session": "customer-7"})
            found = answer.raise_for_status().json()
            messages.append({"role": "assistant", "content": found["content"]})
            show(text, found)
        print("Other customers:")
        for text in OTHER_CUSTOMERS:
            show(text, client.post("/complete", json={"prompt": text}).raise_for_status().json())


def show(text: str, found: dict[str, Any]) -> None:
    """Print one line: the message, what decided, the route or the rule, and the model that answered."""
    decision = found["decision"]
    print(f"  {text:<50} {decision['reason']:<9} {decision['rule'] or decision['route'] or '-':<11} {found['model']}")


if __name__ == "__main__":
    main()
