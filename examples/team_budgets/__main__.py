"""A budget for each team: what the callers see before the limit, near it, and beyond it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from examples.service import log_file, service


def main() -> None:
    """Make a key for each of two teams, and spend the budget of one."""
    with tempfile.TemporaryDirectory() as folder, log_file() as log:
        database = f"sqlite:///{folder}/semroute.db"
        shop, research = (create_key(team, database) for team in ("shop", "research"))
        # Once there is a key, every call needs one. The admin key reads all budgets.
        settings = {"SEMROUTE_DATABASE_URL": database, "SEMROUTE_ADMIN_KEY": "the-admins-key"}
        with service(Path(__file__).parent, log, **settings) as client:
            for number in range(1, 11):
                show(f"shop {number}", ask(client, shop))
            show("research", ask(client, research))
            show("no key", ask(client, "nobody"))
            budgets = client.get("/budgets", headers={"authorization": "Bearer the-admins-key"}).raise_for_status()
            for budget in budgets.json()["budgets"]:
                print(
                    f"{budget['name']}: {budget['spent_usd']:.3f} of {budget['limit_usd']} USD, {budget['share']:.0%}"
                )


def create_key(team: str, database: str) -> str:
    """Make a key, as an operator does: `semroute keys create --team TEAM`."""
    command = [sys.executable, "-m", "semroute", "keys", "create", "--name", f"{team}-bot", "--team", team, "--json"]
    environ = {**os.environ, "SEMROUTE_DATABASE_URL": database}
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    key: str = json.loads(done.stdout)["key"]
    return key


def ask(client: httpx.Client, key: str) -> httpx.Response:
    """Send one request of a team, in OpenAI's format."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "Write a product description for a lamp."}]}
    return client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


def show(who: str, answer: httpx.Response) -> None:
    """Print one line: who asked, the status, and the model with its cost, or the error."""
    if answer.is_success:
        said = f"{answer.headers['x-semroute-model']:<6} {answer.headers['x-semroute-cost-usd']} USD"
    else:
        error = answer.json()["error"]  # an OpenAI client raises `APIStatusError`, with this as its body
        said = f"{error['code']}: {error['message'].split(';')[0]}"
    print(f"{who:<9} {answer.status_code}  {said}")


if __name__ == "__main__":
    main()
