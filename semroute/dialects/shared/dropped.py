"""What one dialect can say and another cannot: left out with a note, never silently."""

from __future__ import annotations

from collections.abc import Iterable

from semroute.messages import Params


class Dropped:
    """Collects notes, each once, in order."""

    def __init__(self, unread: Iterable[str] = ()) -> None:
        """`unread`: what the caller's own dialect holds beyond the common vocabulary."""
        self._notes = dict.fromkeys(unread)
        self._adapted: dict[str, None] = {}

    def add(self, note: str) -> None:
        """Note that something is left out, or sent as something else."""
        self._notes[note] = None

    def add_given(self, **values: object) -> None:
        """Note each that was given at all: what is None, false or empty asks for nothing."""
        for name, value in values.items():
            if value not in (None, False, "", ()):
                self.add(name)

    def add_chat_sampling(self, params: Params) -> None:
        """Note each parameter of sampling that was given and that hardly any format but Chat Completions has."""
        self.add_given(
            frequency_penalty=params.frequency_penalty,
            presence_penalty=params.presence_penalty,
            seed=params.seed is not None,
            n=params.n is not None and params.n > 1,
        )

    def adapt(self, note: str) -> None:
        """Note that something is said in another form, and nothing of it is lost."""
        self._adapted[note] = None

    @property
    def adapted(self) -> tuple[str, ...]:
        """What is said in another form."""
        return tuple(self._adapted)

    @property
    def notes(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._notes)
