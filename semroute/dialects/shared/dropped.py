"""Notes about parts of a request that a dialect cannot express. Nothing is left out without a note."""

from __future__ import annotations

from collections.abc import Iterable

from semroute.messages import Params


class Dropped:
    """Collects notes in order. Each is kept once."""

    def __init__(self, unread: Iterable[str] = ()) -> None:
        """`unread`: fields of the caller's body that the `ChatRequest` cannot hold."""
        self.notes = dict.fromkeys(unread)
        """The notes on what is left out or changed."""
        self.adapted: dict[str, None] = {}
        """The notes on what is expressed in another form."""

    def add(self, note: str) -> None:
        """Note that something is left out, or sent as something else."""
        self.notes[note] = None

    def add_given(self, **values: object) -> None:
        """Note each name whose value asks for something. None, False and empty values ask for nothing."""
        for name, value in values.items():
            if value not in (None, False, "", ()):
                self.add(name)

    def add_chat_sampling(self, params: Params) -> None:
        """Note each sampling parameter that was given and that few formats beside Chat Completions have."""
        self.add_given(
            frequency_penalty=params.frequency_penalty,
            presence_penalty=params.presence_penalty,
            seed=params.seed is not None,
            n=params.n is not None and params.n > 1,
        )

    def adapt(self, note: str) -> None:
        """Note that something is expressed in another form, without loss."""
        self.adapted[note] = None
