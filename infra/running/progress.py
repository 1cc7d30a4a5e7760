"""Where stages say how far they are; a terminal, or nobody, listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int, str], None]  # stage, done, total (0: unknown), what is being done

_listeners: list[Listener] = []


def report(stage: str, done: int = 0, total: int = 0, what: str = "") -> None:
    """Tell the listeners. `what` holds counts and names of things, never personal data."""
    for listener in _listeners:
        listener(stage, done, total, what)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """While open, `listener` is told of every report of this process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
