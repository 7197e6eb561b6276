from __future__ import annotations

import tracemalloc

from semroute.execution.model_call import MAX_COUNTED_CHARS, SaidTokens, only_declines
from semroute.messages import Opaque, Refusal, Text, Thinking, ToolCall
from semroute.routing.pricing import estimate_text_tokens


def test_the_pieces_of_one_text_count_together() -> None:
    said = SaidTokens()
    for letter in "a short answer, letter by letter":
        said.add((Text(text=letter),))
    assert said.tokens == said.rough_tokens == estimate_text_tokens("a short answer, letter by letter")


def test_thoughts_and_calls_count_and_what_nobody_can_read_does_not() -> None:
    said = SaidTokens()
    said.add((Opaque(kind="audio"),))
    assert (said.any, said.tokens) == (False, 0)
    said.add((Thinking(text="hmm "), ToolCall(name="find", arguments="{}")))
    assert (said.any, said.tokens) == (True, 3)


def test_a_long_answer_is_counted_without_being_kept() -> None:
    piece = Text(text="ein längerer Satz, wie ihn ein Modell am Stück schickt. ")
    said = SaidTokens(lambda text: len(text.split()))
    tracemalloc.start()
    for _ in range(100_000):
        said.add((piece,))
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 6 * MAX_COUNTED_CHARS
    past = 100_000 * len(piece.text.encode()) - len((piece.text * 100_000)[:MAX_COUNTED_CHARS].encode())
    counted = len((piece.text * 100_000)[:MAX_COUNTED_CHARS].split())
    assert abs(said.tokens - counted - past // 4) < 50


def test_an_answer_that_only_declines_is_none() -> None:
    assert only_declines(())
    assert only_declines((Refusal(text="It could enable cyber harm."),))
    assert not only_declines((Refusal(text="no"), Text(text="but")))
