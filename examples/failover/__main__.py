"""Two providers, one of which fails. The callers still get their answers."""

from __future__ import annotations

from pathlib import Path

from examples.service import log_file, provider, service


def main() -> None:
    """Send four prompts while the first provider answers every call with status 500."""
    with (
        provider(lambda model, prompt: (500, "we are on fire")) as east,
        provider(lambda model, prompt: (200, f"{model} is well and answers")) as west,
        log_file() as log,
    ):
        with service(Path(__file__).parent, log, EAST_URL=east, WEST_URL=west) as client:
            for number in range(1, 5):
                answer = client.post("/complete", json={"prompt": f"What should I read next, number {number}?"})
                found = answer.raise_for_status().json()
                print(f"prompt {number}: status {answer.status_code}, {found['content']}")
                for attempt in found["attempts"]:
                    why = f": {attempt['error']}" if attempt["error"] else ""
                    print(f"  {attempt['model']} {attempt['status']}{why}")
                for model, why in found["decision"]["rejected"].items():
                    print(f"  {model} left out: {why.split(',')[0]}")
            print("health:", client.get("/health/ready").json()["status"])
        log.seek(0)
        print("The log of the service:")
        for line in log:
            if " WARNING " in line:
                _id, _, said = line.split(" semroute: ", 1)[1].strip().partition(": ")
                print(f"  WARNING {said}")


if __name__ == "__main__":
    main()
