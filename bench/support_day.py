"""Write a log of one day with 100,000 support requests, 80% of them easy, for `semroute savings`.

    python bench/support_day.py day.jsonl && semroute savings day.jsonl --routes bench/support_routes

The prompts are made from templates with a fixed seed, so everyone gets the same log.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

REQUESTS = 100_000
EASY_SHARE = 0.8
EASY = (
    "Where is my {item}?",
    "How do I return the {item} I bought?",
    "Can I change the address for my {item}?",
    "My {item} arrived damaged, I want a refund.",
    "What are your opening hours?",
    "How do I reset my password?",
    "Cancel my order for the {item}, please.",
    "Do you ship a {item} to Canada?",
)
HARD = (
    "My {item} fails after the update. I have already reset it, then replaced the cable, and it must run without "
    "the app. Why does it happen, and what should I do first? Compare a repair versus a replacement, step by step.",
    "Your invoice charges me twice for the {item}, once before and once after the discount. Derive the exact amount I "
    "must pay if the tax is 19% and the discount applies only to the first item, then explain why yours differs.",
    "Analyse our contract for 40 {item}s: what are the implications if we cancel within 30 days, unless at most five "
    "were used? Compare both options in detail and justify your recommendation.",
    "Design a migration plan from your old {item} API to the new one without downtime. First list the constraints, "
    "then the steps, and explain the trade-offs. Why must the tokens be rotated?",
)
ITEMS = ["blender", "router", "headset", "lamp", "keyboard", "monitor", "backpack", "kettle", "charger", "thermostat"]


def lines(random: Random) -> list[str]:
    """Yield the lines of the log."""
    made = []
    for number in range(REQUESTS):
        easy = number < REQUESTS * EASY_SHARE
        prompt = random.choice(EASY if easy else HARD).format(item=random.choice(ITEMS))
        output_tokens = random.randint(60, 160) if easy else random.randint(400, 900)
        # Each support prompt comes with a system prompt and the retrieved passages.
        input_tokens = 600 + len(prompt) // 4 + random.randint(0, 300)
        made.append(json.dumps({"prompt": prompt, "input_tokens": input_tokens, "output_tokens": output_tokens}))
    random.shuffle(made)
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("\n".join(lines(Random(0))) + "\n", "utf-8")
