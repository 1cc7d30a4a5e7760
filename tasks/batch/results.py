"""What the flow reads of the stages; the others return a record or a sentence. Prefect may store any of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBatch:
    batch_id: str
    requests: int

    def __str__(self) -> str:
        return f"{self.batch_id}, {self.requests} requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    attempt: int
    passed: bool
    failed_gates: tuple[str, ...]
    unjudged: tuple[str, ...] = ()
    """Gates that promotion needs and nothing was there to measure: the evidence is insufficient."""

    @property
    def registrable(self) -> bool:
        """Whether the candidate is worth keeping: nothing that was measured refuses it."""
        return not self.failed_gates

    def __str__(self) -> str:
        if self.failed_gates:
            return f"refused by {', '.join(self.failed_gates)}"
        if self.unjudged:
            return f"insufficient evidence: {', '.join(self.unjudged)} could not be measured"
        return "every gate passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A closed batch: `completed` requests are done; those `handed_on` wait for a human, each with its reason."""

    batch_id: str
    status: str
    completed: int
    handed_on: int

    def __str__(self) -> str:
        waiting = f", {self.handed_on} handed to a human" if self.handed_on else ""
        return f"{self.status}, {self.completed} requests completed{waiting}"
