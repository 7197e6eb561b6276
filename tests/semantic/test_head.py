from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from semroute.routing import scoring
from semroute.routing.scoring import Doubles, Floats, Head, Ints
from semroute.semantic import head as head_module
from semroute.semantic import logistic_regression
from semroute.semantic.array_cache import Cache
from semroute.semantic.background import Rivals, fit_rivals
from semroute.semantic.calibration import claim, fit_gate, fit_thresholds
from semroute.semantic.embedder import Features, OnnxEmbedder
from semroute.semantic.head import Material, bags_of, name_text, train
from semroute.semantic.matcher import Matcher
from semroute.semantic.training import Task, Trained, prepare

DIM = 48
BACKGROUND = 60
INTENTS = 20
"""Kinds of prompts that the background of a `World` knows, beside its routes."""


class World:
    """Routes as directions with noise, and words that belong to them: as many prompts as a test wants."""

    def __init__(self, routes: int, noise: float = 0.16, seed: int = 0) -> None:
        self.chance = np.random.default_rng(seed)
        self.noise = noise
        self.routes = routes
        self.middles = self._unit(self.chance.normal(size=(routes + 40, DIM)))

    def draw(self, owners: Iterable[int]) -> Features:
        """Prompts of the given routes; routes from `self.routes` on are out of scope."""
        owners = list(owners)
        vectors = self.middles[owners] + self.chance.normal(size=(len(owners), DIM)) * self.noise
        words = [
            [100 + 10 * owner + int(self.chance.integers(10)), *self.chance.integers(50, size=4)] for owner in owners
        ]
        return Features(self._unit(vectors), [[int(word) for word in ids] for ids in words])

    def material(self, counts: Sequence[int], negatives: int = 0) -> Material:
        owners = np.repeat(np.arange(len(counts)), counts)
        intents = self.chance.integers(INTENTS, size=BACKGROUND)
        parts = (
            self.draw(owners),
            self.draw(range(len(counts))),
            self.draw(self.routes + intents),
            self.draw([self.routes + 30] * negatives),
        )
        texts = Features(np.vstack([part.vectors for part in parts]), [ids for part in parts for ids in part.tokens])
        return Material(texts, owners.astype(np.int64), np.arange(len(counts)), self.rivals(intents))

    def rivals(self, intents: Ints) -> Rivals:
        """Half of the intents compete with the routes, trained on prompts that nobody else sees."""
        kinds = np.repeat(np.arange(INTENTS), 8)
        weights = fit_rivals(self.draw(self.routes + kinds).vectors, kinds)
        half = INTENTS // 2
        return Rivals(weights[:, :half].copy(), intents, np.where(intents < half, intents, -1), intents < 4)

    @staticmethod
    def _unit(vectors: Doubles) -> Floats:
        unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit


def judge(head: Head, material: Material, prompts: Features) -> tuple[Floats, Doubles]:
    """Logits and the probability of being in scope."""
    vectors = material.texts.vectors[: len(material.owners)]
    matcher = Matcher(head, vectors, material.owners)
    compared = [matcher.compare(vector, tokens) for vector, tokens in zip(*prompts, strict=True)]
    logits = head.logits(*prompts)
    best = scoring.best_routes(logits)
    by_route = np.array(
        [(prompts.vectors @ vectors[material.owners == n].T).max(axis=1) for n in range(logits.shape[1])]
    )
    nearest = np.take_along_axis(by_route.T, best, axis=1)
    discriminants = scoring.discriminate(head.discriminants, prompts.vectors, best)
    explained = scoring.together(prompts.vectors @ head.rivals[:-1] + head.rivals[-1])
    found = scoring.evidence(logits, nearest.max(axis=1), discriminants.max(axis=1), explained)
    # What is calibrated on many is what one prompt is asked.
    in_scope, shares = scoring.in_scope(head.gate, found), scoring.shares(logits, float(head.temperature[0]))
    np.testing.assert_allclose([one.in_scope for one in compared], in_scope, rtol=1e-3)
    np.testing.assert_allclose([one.confidences for one in compared], in_scope[:, None] * shares, rtol=1e-3, atol=1e-9)
    assert [[near.route for near in one.nearest] for one in compared] == best.tolist()
    return logits, in_scope


def test_a_fit_takes_little_memory_beside_its_features() -> None:
    features = np.random.default_rng(1).normal(size=(40_000, 64)).astype(np.float32)
    rows = np.arange(0, len(features), 2)
    basis = logistic_regression.find_basis(features, 3, cost=1.0)
    tracemalloc.start()
    try:
        logistic_regression.fit(features, rows, rows % 3, 3, basis.penalty, 2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < features.nbytes / 2  # the rows alone are half of it


def test_many_bags_take_half_the_memory_and_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = World(4).material([30] * 4).texts
    chosen, idf = np.arange(len(texts.tokens))[::-1].copy(), np.ones(4000, np.float32)
    monkeypatch.setattr(head_module, "CHUNK", 50)
    few = bags_of(texts, chosen, idf)
    np.testing.assert_array_equal(few, scoring.lexical([texts.tokens[row] for row in chosen], idf))
    monkeypatch.setattr(head_module, "MANY", len(chosen) - 1)
    many = bags_of(texts, chosen, idf)
    assert many.nbytes == few.nbytes / 2
    np.testing.assert_allclose(many, few, atol=1e-3)


@pytest.mark.parametrize("halved", [False, True])
def test_the_solver_finds_the_minimum(halved: bool) -> None:
    chance = np.random.default_rng(1)
    features = chance.normal(size=(200, 6)).astype(np.float16).astype(np.float32)
    stored: logistic_regression.Stored = features.astype(np.float16) if halved else features.copy()
    owners = (features[:, 0] + chance.normal(size=200) > 0).astype(np.int64) + (features[:, 1] > 1)
    basis = logistic_regression.find_basis(stored, 3, cost=1.0)
    rows = basis.project(stored)
    coefficients, bias = logistic_regression.fit(
        rows, np.arange(len(rows)), owners, 3, basis.penalty, 200, tolerance=1e-6
    )
    weights, bias = basis.weights(coefficients, bias)
    logits = features @ weights + bias + np.log(np.bincount(owners) / 200)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # At the minimum, the gradient of the loss is that of the ridge: |weights|^2 / 2.
    slope = features.T @ (shares - np.eye(3)[owners])
    np.testing.assert_allclose(slope, -weights, atol=0.05)


def test_routes_with_few_utterances_hold_their_own_against_many() -> None:
    world = World(10)
    material = world.material([2, 100, 2, 100, 2, 100, 2, 100, 2, 100])
    head = train(material, 0.05)
    owners = np.repeat(np.arange(10), 30)
    logits, _ = judge(head, material, world.draw(owners))
    right = logits.argmax(axis=1) == owners
    assert right[owners % 2 == 1].mean() > 0.9
    assert right[owners % 2 == 0].mean() > 0.8


@pytest.mark.parametrize("target", [0.02, 0.1])
def test_the_stated_share_of_prompts_abstains(target: float) -> None:
    world = World(12, noise=0.22)
    material = world.material([60] * 12)
    head = train(material, target)
    owners = np.repeat(np.arange(12), 200)
    logits, in_scope = judge(head, material, world.draw(owners))
    abstained = (in_scope < head.thresholds[logits.argmax(axis=1)]).mean()
    # Heads that saw four fifths of the utterances are less sure than the one that saw all: rather less than stated.
    assert target / 3 < abstained < target + 0.02


def test_being_in_scope_is_a_probability() -> None:
    world = World(12, noise=0.22)
    material = world.material([20] * 12)
    head = train(material, 0.05)
    owners = np.concatenate((np.repeat(np.arange(12), 80), world.chance.integers(52, size=240) % 20 + 32))
    _, in_scope = judge(head, material, world.draw(owners))
    inside = owners < 12
    assert in_scope[inside].mean() > 0.85
    assert in_scope[~inside].mean() < 0.3
    places = np.minimum((in_scope * 5).astype(int), 4)
    gaps = [abs(in_scope[places == b].mean() - inside[places == b].mean()) * (places == b).mean() for b in set(places)]
    assert sum(gaps) < 0.08


@pytest.mark.parametrize("counts", [[1], [2], [1, 1], [2, 2], [1, 5], [2] * 40, [3, 1, 1, 30]])
def test_any_number_of_utterances_gives_a_head_that_can_be_used(counts: list[int]) -> None:
    world = World(len(counts))
    material = world.material(counts)
    head = train(material, 0.05)
    logits, in_scope = judge(head, material, world.draw([*range(len(counts)), len(counts) + 25]))
    for array in (head.projection, head.word_weights, head.gate, head.temperature, head.thresholds, logits, in_scope):
        assert np.isfinite(array).all()
    assert ((head.thresholds > 0) & (head.thresholds < 1)).all()
    assert (logits[:-1].argmax(axis=1) == np.arange(len(counts))).mean() > 0.6
    assert in_scope[-1] < in_scope[:-1].mean()


def test_training_twice_gives_the_same() -> None:
    first, second = (train(World(6).material([8] * 6), 0.05) for _ in range(2))
    np.testing.assert_array_equal(first.projection, second.projection)
    np.testing.assert_array_equal(first.thresholds, second.thresholds)


def test_negatives_sharpen() -> None:
    chances = []
    for negatives in (0, 12):
        world = World(6, seed=3)
        material = world.material([10] * 6, negatives)
        _, in_scope = judge(train(material, 0.05), material, World(6, seed=3).draw([36] * 30))
        chances.append(in_scope.mean())
    assert chances[1] < chances[0]


def test_names_of_routes_are_read_as_words() -> None:
    assert name_text("cardArrival") == "card arrival"
    assert name_text("card_arrival-2") == "card arrival 2"
    assert name_text("GetWeather") == "get weather"


def test_thresholds_are_conformal_quantiles() -> None:
    scores, owners = np.linspace(0, 1, 199), np.zeros(199, np.int64)
    # k = .05 x 200 = 10: the tenth smallest.
    assert fit_thresholds(scores, owners, 1, 0.05)[0] == pytest.approx(scores[9])
    # k = .0525 x 200 = 10.5: half way to the next. k = floor would leave small sets of routes below their target.
    assert fit_thresholds(scores, owners, 1, 0.0525)[0] == pytest.approx((scores[9] + scores[10]) / 2)
    # Too few for a quantile: nothing known in scope is turned away.
    assert fit_thresholds(scores[100:105], owners[:5], 1, 0.05)[0] == 0.5
    assert fit_thresholds(scores[:0], owners[:0], 2, 0.05).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("counts", [[200, 200], [30, 30, 25], [15] * 4, [150, 40, 30, 12, 12]], ids=str)
def test_the_thresholds_keep_what_is_promised(counts: list[int]) -> None:
    """Of further prompts, at most 5% fall below: of each route with its own threshold, else of all that share one."""
    chance = np.random.default_rng(0)
    owners = np.repeat(np.arange(len(counts)), counts)
    hard = owners % 2  # every other route has scores far lower
    below = np.zeros(len(counts))
    for _ in range(400):
        scores = chance.beta(np.where(hard, 2, 40), 1)
        thresholds = fit_thresholds(scores, owners, len(counts), 0.05)
        further = chance.beta(np.where(hard, 2, 40), 1, size=(20, len(owners)))
        fallen = (further < thresholds[owners]).mean(axis=0)
        below += np.bincount(owners, weights=fallen) / counts / 400
    for shared in np.unique(thresholds):
        members = thresholds == shared
        assert np.average(below[members], weights=np.array(counts)[members]) < 0.055


def test_what_is_promised_can_be_told() -> None:
    assert claim(np.array([19, 80]), 0.05) == (
        "on average, at most 5.0% of the prompts of a route stay below its threshold: for 2 routes "
        "together, give or take 2.2 points (split conformal on 99 utterances, each scored by a classifier "
        "trained without it)"
    )
    both = claim(np.array([99, 400, 19]), 0.05)
    assert "for 2 routes one by one, give or take 2.2 points and for 1 route together" in both
    unequal = claim(np.array([200, 2]), 0.05)
    assert unequal.startswith("on average, at most 5.0%")
    assert unequal.endswith(
        "; no share can be promised for 1 route: there are 2 utterances to calibrate on, and 5% needs at least 19"
    )
    assert claim(np.array([9, 9]), 0.05).startswith("no share can be promised for 2 routes: there are 18 utterances")
    assert "for 2 routes together" in claim(np.array([10, 9]), 0.05)


def test_a_single_set_of_routes_scatters_as_is_told() -> None:
    chance = np.random.default_rng(1)
    below = []
    for _ in range(2000):
        threshold = fit_thresholds(chance.random(50), np.zeros(50, np.int64), 1, 0.05)[0]
        below.append(threshold)  # of uniform scores, the share that is below
    told = claim(np.array([50]), 0.05).partition("give or take ")[2].partition(" ")[0]
    assert float(told) == pytest.approx(100 * np.std(below), abs=0.5)


def test_utterances_that_repeat_each_other_are_not_tried_on_each_other() -> None:
    """With "please" and the like beside each utterance, thresholds would rise to 1."""
    world = World(5, seed=4)
    once = world.material([12] * 5)
    rows = [row for route in range(5) for row in range(12 * route, 12 * route + 12) for _ in range(4)]
    vectors = once.texts.vectors[rows] + np.random.default_rng(0).normal(scale=0.01, size=(240, DIM))
    vectors = np.vstack((vectors / np.linalg.norm(vectors, axis=1, keepdims=True), once.texts.vectors[60:]))
    tokens = [*(once.texts.tokens[row] for row in rows), *once.texts.tokens[60:]]
    texts = Features(vectors.astype(np.float32), tokens)
    repeated = Material(texts, np.repeat(np.arange(5), 48), once.called, once.rivals)
    heads = [train(material, 0.05) for material in (once, repeated)]
    assert heads[1].calibrated_on.sum() <= heads[0].calibrated_on.sum()
    abstained = []
    for head, material in zip(heads, (once, repeated), strict=True):
        _, in_scope = judge(head, material, World(5, seed=4).draw(np.repeat(np.arange(5), 40)))
        abstained.append((in_scope < head.thresholds.max()).mean())
    assert abstained[1] < abstained[0] + 0.1


def test_a_gate_without_counterexamples_keeps_to_its_prior() -> None:
    inside = np.random.default_rng(0).normal(size=(30, 5)) + 5
    gate = fit_gate(inside, np.zeros(30, np.int64), 3)
    assert (gate[:-2] > 0).all()
    assert gate[-2] < 0
    assert scoring.in_scope(gate, np.array([inside.mean(axis=0)]))[0] > 0.8
    assert np.isfinite(fit_gate(np.zeros((0, 5)), np.zeros(0, np.int64), 3)).all()


ROUTES = {
    "balance": "what is my account balance, how much money do I have, show me what is left on my account, "
    "do I have enough in checking, how much is in my savings",
    "alarm": "wake me up at seven, set an alarm for six thirty, I need an alarm tomorrow morning, "
    "change my alarm to eight, cancel the alarm for today",
    "flights": "book a flight to boston, find me a plane ticket, I want to fly to denver on friday, "
    "are there cheap flights to rome, get me two seats on the next flight",
    "recipes": "how do I bake bread, find a recipe for tomato soup, what can I cook with rice and eggs, "
    "how long do I boil an egg, give me an idea for dinner",
    "refund": "I want my money back, refund my last order, how do I return these shoes, "
    "the parcel was damaged, please refund me, cancel the order and pay me back",
}
TASK = Task(
    names=tuple(ROUTES),
    utterances=tuple(tuple(told.split(", ")) for told in ROUTES.values()),
    negatives=(),
    target=0.05,
)
FOREIGN = """cuál es el saldo de mi cuenta
despiértame mañana a las siete
mets une alarme à sept heures
je voudrais acheter un billet d'avion
wie hoch ist mein Kontostand
ich möchte mein Geld zurück
qual è il saldo del mio conto
come si prepara la zuppa di pomodoro
quero o meu dinheiro de volta
wat is het saldo van mijn rekening
jaki jest stan mojego konta
какой у меня баланс на счёте
поставь будильник на семь утра
我的账户余额是多少
把闹钟设在早上七点
口座残高はいくらですか
내 계좌 잔액이 얼마예요
ما هو رصيد حسابي
मेरे खाते में कितना पैसा है
hesabımda ne kadar para var""".splitlines()  # noqa: RUF001 - they are what they look like


@pytest.fixture(scope="module")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder(threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(embedder: OnnxEmbedder, folder: Path) -> Trained:
    return prepare(TASK, embedder, Cache(folder))


def ask(trained: Trained, prompts: Features) -> tuple[list[str], list[bool]]:
    """The best route of each prompt, and whether it is taken."""
    texts = Features(trained.vectors, [])
    nothing = Rivals(trained.head.rivals, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool))
    logits, in_scope = judge(trained.head, Material(texts, TASK.owners, np.zeros(0, np.int64), nothing), prompts)
    best = logits.argmax(axis=1)
    return [TASK.names[route] for route in best], (in_scope >= trained.head.thresholds[best]).tolist()


def test_five_utterances_a_route_are_enough_for_paraphrases(trained: Trained, embedder: OnnxEmbedder) -> None:
    prompts = {
        "how much cash is in my account": "balance",
        "please wake me at a quarter to five": "alarm",
        "I have to fly to chicago next week": "flights",
        "what should I cook tonight": "recipes",
        "send the money for my order back to me": "refund",
    }
    best, taken = ask(trained, embedder.featurize(list(prompts)))
    assert best == list(prompts.values())
    assert sum(taken) >= 4


def test_prompts_of_no_route_abstain(trained: Trained, embedder: OnnxEmbedder) -> None:
    prompts = ["who painted guernica", "qwpo zmxn", "tell me a joke about penguins", "the sky was grey that day"]
    assert ask(trained, embedder.featurize(prompts))[1] == [False] * 4


def test_other_languages_abstain(trained: Trained, embedder: OnnxEmbedder) -> None:
    _, taken = ask(trained, embedder.featurize(FOREIGN))
    assert [text for text, matched in zip(FOREIGN, taken, strict=True) if matched] == []


def test_a_trained_head_comes_from_the_cache(trained: Trained, embedder: OnnxEmbedder, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    again = prepare(TASK, embedder, Cache(folder), progress=lambda done, total: told.append((done, total)))
    assert told == []
    np.testing.assert_array_equal(again.head.projection, trained.head.projection)
    np.testing.assert_array_equal(again.vectors, trained.vectors)


def test_progress_ends_where_it_said(embedder: OnnxEmbedder) -> None:
    told: list[tuple[int, int]] = []
    prepare(TASK, embedder, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]


def test_the_key_changes_with_all_that_training_depends_on(embedder: OnnxEmbedder) -> None:
    class Other(OnnxEmbedder):
        fingerprint = "another"

        def __init__(self) -> None:
            pass

    tasks = [
        TASK,
        Task(TASK.names, TASK.utterances, ("not this",), 0.05),
        Task(TASK.names, TASK.utterances, (), 0.1),
        Task(TASK.names, (*TASK.utterances[:-1], ("another",)), (), 0.05),
        Task((*TASK.names[:-1], "renamed"), TASK.utterances, (), 0.05),
        Task(TASK.names, TASK.utterances, (), 0.05, ("how much money there is",) + ("",) * 4),
    ]
    keys = [task.key(embedder) for task in tasks]
    assert len({*keys, TASK.key(Other())}) == 7
    assert TASK.key(embedder) == keys[0]


def test_the_log_says_why_a_start_trains(
    embedder: OnnxEmbedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = Task(("only",), (("one", "two"),), (), 0.05)
    with caplog.at_level(logging.INFO, "semroute.semantic.training"):
        prepare(task, embedder, Cache(tmp_path))
        (told,) = (record.getMessage() for record in caplog.records)
        prepare(task, embedder, Cache(tmp_path))
    assert told.startswith("2 utterances were learned from in ")
    assert told.endswith(
        f"the cache had nothing for these routes, this version of semroute and the embedder bundled "
        f"({embedder.fingerprint})"
    )
    assert len(caplog.records) == 1


def test_an_entry_of_another_shape_is_trained_anew(embedder: OnnxEmbedder, tmp_path: Path) -> None:
    cache, task = Cache(tmp_path), Task(("only",), (("one", "two"),), (), 0.05)
    cache.write(task.key(embedder), {"vectors": np.zeros((1, 384), np.float32)})
    assert prepare(task, embedder, cache).vectors.shape == (2, 384)
    read = cache.read(task.key(embedder))
    assert read is not None
    assert read["vectors"].shape == (2, 384)
    cache.write(task.key(embedder), {**read, "idf": np.full(len(read["idf"]), np.nan, np.float32)})
    assert np.isfinite(prepare(task, embedder, cache).head.idf).all()
    cache.write(task.key(embedder), {**read, "rivals": read["rivals"][:-1]})
    assert prepare(task, embedder, cache).head.rivals.shape == read["rivals"].shape
