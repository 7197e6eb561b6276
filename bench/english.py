"""Make `semroute/routing/english.txt`, the table that recognises English: known words, and a weight for trigrams.

    python bench/english.py

The known words are the whole words of the embedded model's vocabulary (BERT's, Apache-2.0), the most frequent first,
without the words of `foreign.txt` that only look English. The weights are a logistic regression that separates these
words from the words of `foreign.txt`, rounded to halves. `--check` prints how many prompts of each language are
recognised by trigrams learned from the other languages.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np

from semroute.routing import english_check
from semroute.semantic.bundled_models import BUNDLED_DIR

TEXTS = Path(__file__).with_name("foreign.txt")
STEP = 0.5
"""Weights are multiples of this. Trigrams whose weight rounds to 0 are left out."""
ROUNDS = 300
RARE_FROM = 3000
"""The rank at which a word counts half as much as the most frequent one."""


def main() -> None:
    """Write the table, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="test each fifth of the languages with a table learned from the others"
    )
    texts = read_texts()
    if parser.parse_args().check:
        check(texts)
        return
    known, weights = learn(texts)
    english_check.TABLE.write_text(render(known, weights), encoding="utf-8")
    print(f"{english_check.TABLE}: {len(known)} words, {len(weights)} trigrams")


def read_texts() -> dict[str, list[str]]:
    """Return the prompts by language."""
    texts: dict[str, list[str]] = {}
    for line in TEXTS.read_text(encoding="utf-8").splitlines()[2:]:
        if line.startswith("# "):
            language = line[2:]
        else:
            texts.setdefault(language, []).append(line)
    return texts


def learn(texts: dict[str, list[str]]) -> tuple[list[str], dict[str, float]]:
    """Return the English words, and the weight of each trigram."""
    vocabulary = json.loads((BUNDLED_DIR / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    known = [word for word in vocabulary if len(word) > 2 and word.isascii() and word.isalpha() and word.islower()]
    listed = {
        english_check.fold(word) for words in english_check._FOREIGN_BY_LANGUAGE.values() for word in words.split()
    }
    said = {
        english_check.fold(word) for lines in texts.values() for line in lines for word in english_check._words(line)
    }
    ours = [word for word in known if word not in said | listed]
    theirs = sorted(word for word in (said - set(known)) | listed if len(word) > 2)
    known = [word for word in known if word not in english_check._STRONG | english_check._WEAK]
    return known, fit(ours, theirs)


def fit(ours: list[str], theirs: list[str]) -> dict[str, float]:
    """Fit a logistic regression with an L2 penalty, using Adam. Both classes have the same total weight."""
    places: dict[str, int] = {}
    rows, columns = [], []
    for row, word in enumerate((*ours, *theirs)):
        for letters in english_check.trigrams(word):
            rows.append(row)
            columns.append(places.setdefault(letters, len(places)))
    row_of, column_of = np.array(rows), np.array(columns)
    is_ours = np.arange(len(ours) + len(theirs)) < len(ours)
    weight = np.where(is_ours, 1 / (1 + np.arange(len(is_ours)) / RARE_FROM), 1.0)
    weight[is_ours] *= len(theirs) / weight[is_ours].sum()
    theta, mean, square = (np.zeros(len(places)) for _ in range(3))
    for step in range(1, ROUNDS + 1):
        logits = np.bincount(row_of, theta[column_of], len(is_ours))
        error = (1 / (1 + np.exp(-logits)) - is_ours) * weight
        slope = np.bincount(column_of, error[row_of], len(places)) + theta
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        theta -= 0.06 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-9)
    rounded = np.round(theta / STEP) * STEP
    return {letters: float(rounded[place]) for letters, place in places.items() if rounded[place]}


def render(known: list[str], weights: dict[str, float]) -> str:
    """Return the text of the table. A line of words begins with `=`, a line of trigrams with their weight."""
    lines = ["# Made by bench/english.py from the embedded model's vocabulary and bench/foreign.txt."]
    for weight in sorted(set(weights.values())):
        lines += wrap(f"{weight:g}", sorted(letters for letters in weights if weights[letters] == weight))
    return "\n".join((*lines, *wrap("=", known))) + "\n"


def wrap(first: str, words: list[str]) -> list[str]:
    """Wrap words in lines of at most 120 characters, each line beginning with `first`."""
    lines = [first]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > 120:
            lines.append(first)
        lines[-1] += f" {word}"
    return lines


def check(texts: dict[str, list[str]]) -> None:
    """For each fifth of the languages, learn from the others and print how many of its prompts are recognised."""
    languages = sorted(texts)
    told = total = 0
    for part in range(5):
        out = languages[part::5]
        known, weights = learn({language: lines for language, lines in texts.items() if language not in out})
        table = (frozenset(known), weights)
        english_check._evidence.cache_clear()
        with patch.object(english_check, "_table", return_value=table):
            for language in out:
                missed = [line for line in texts[language] if not english_check.foreign(line)]
                told += len(texts[language]) - len(missed)
                total += len(texts[language])
                print(
                    f"{language}: {len(texts[language]) - len(missed)} of {len(texts[language])}", *missed, sep="\n  "
                )
    print(f"{told} of {total}: {told / total:.1%}")


if __name__ == "__main__":
    main()
