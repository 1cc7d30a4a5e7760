"""What the flow reads of the stages; the others return a record or a sentence. Prefect may store any of it."""

from __future__ import annotations

from dataclasses import dataclass

from revs.errors import RevsError


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
    approval: bool = False
    """Whether a human has to approve each promotion here."""

    @property
    def promotable(self) -> bool:
        """Whether the run may move the alias itself."""
        return self.passed and not self.approval

    @property
    def registrable(self) -> bool:
        """Whether the candidate is worth keeping: nothing that was measured refuses it."""
        return not self.failed_gates

    def __str__(self) -> str:
        if self.failed_gates:
            return f"refused by {', '.join(self.failed_gates)}"
        if self.unjudged:
            return f"insufficient evidence: {', '.join(self.unjudged)} could not be measured"
        return "every gate passed" + (", and a human has to approve" if self.approval else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A closed batch: `completed` requests are done; those `handed_on` wait for a human, each with its reason."""

    batch_id: str
    status: str
    completed: int
    handed_on: int
    tried_again: int = 0
    """Requests of one that was split: they wait in its lots."""
    parent: str | None = None
    """The batch that was split, of which this is one lot."""

    def __str__(self) -> str:
        waiting = f", {self.handed_on} handed to a human" if self.handed_on else ""
        again = f", {self.tried_again} to be tried again in two halves" if self.tried_again else ""
        return f"{self.status}, {self.completed} requests completed{waiting}{again}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Closed):
    """A closed batch and where its report is; an empty string where it ended before there was anything to report."""

    report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed(Reported):
    """What a run did: its first batch and how that ended, with the counts of all its batches, and each of them."""

    batches: tuple[Reported, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a batch needs a human: what happened to it, what else its caller is told where it was the only one."""

    kind: type[RevsError]
    what: str
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A batch that a run has ended, and what its caller must know of it, if anything."""

    batch: Reported
    problem: Problem | None
