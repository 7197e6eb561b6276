"""Route the steps of a retrieval pipeline by what the pipeline knows about them, without a service."""

from __future__ import annotations

from pathlib import Path

from semroute import Router
from semroute.messages import ChatRequest, Message, Text

STEPS: list[tuple[str, dict[str, str | float]]] = [
    ("Rewrite as a search query: and what about the second one?", {"step": "rewrite-query"}),
    ("Is this passage about refunds? Answer yes or no: ...", {"step": "grade-passages"}),
    ("When can I return shoes? Sources: ...", {"step": "answer", "retrieval_score": 0.93}),
    ("Does the warranty hold in Peru? Sources: ...", {"step": "answer", "retrieval_score": 0.41}),
    ("Does the warranty hold in Peru? Sources: ...", {"step": "answer", "retrieval_score": "n/a"}),
    ("hi there, good morning!", {}),
    ("Does the warranty hold in Peru?", {}),
]


def main() -> None:
    """Decide each step, and show what decided."""
    router = Router.load(Path(__file__).parent)
    print(f"{'step':<16}{'score':<8}{'rule or route':<16}{'model':<8}plan")
    for number, (prompt, metadata) in enumerate(STEPS):
        messages = (Message(role="user", parts=(Text(text=prompt),)),)
        decision = router.route(ChatRequest(id=f"step-{number}", messages=messages, metadata=metadata))
        step, score = metadata.get("step", "-"), metadata.get("retrieval_score", "-")
        decided = decision.rule or decision.route or "(default)"
        print(f"{step:<16}{score:<8}{decided:<16}{decision.model:<8}{', '.join(decision.plan)}")
        for condition in decision.not_compared:
            print(f"{'':<16}not compared: {condition}")


if __name__ == "__main__":
    main()
