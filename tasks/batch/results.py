"""What the stages return: ids, counts, digests and paths. Prefect may store any of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBatch:
    batch_id: str
    requests: int

    def __str__(self) -> str:
        return f"{self.batch_id}, {self.requests} requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    accepted: int
    rejected: int

    def __str__(self) -> str:
        return f"{self.accepted} good, {self.rejected} set aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    occurrences: int
    identifiers: int
    missing: int
    refused: int = 0
    unread: str = ""
    """How much of the corpus could not be read; "" where all was."""

    def __str__(self) -> str:
        refused = f", {self.refused} that cannot be sought" if self.refused else ""
        unread = f"; {self.unread} of the corpus could not be read" if self.unread else ""
        return (
            f"{self.occurrences} occurrences of {self.identifiers} identifiers, {self.missing} identifiers without "
            f"any{refused}{unread}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    confirmed: int
    unconfirmed: int
    others: int
    proposed: int = 0

    def __str__(self) -> str:
        seen = f"{self.confirmed} confirmed as personal data, {self.unconfirmed} not"
        near = f"; {self.proposed} more stand near them and are named by no request" if self.proposed else ""
        return f"{seen}; {self.others} identifiers of others{near}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    found: int
    memorised: int
    exposed: int
    edited: int
    unseen: int
    retained: int
    unprobed: int = 0

    def __str__(self) -> str:
        more = f" and {self.exposed} exposed" if self.exposed else ""
        unprobed = f"; {self.unprobed} could not be probed" if self.unprobed else ""
        return (
            f"{self.memorised} of {self.found} memorised{more}; {self.edited} to edit, {self.unseen} kept unseen"
            f"{unprobed}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTokens:
    tokens: int
    secrets: int

    def __str__(self) -> str:
        return f"{self.tokens} target tokens of {self.secrets} targets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    attempt: int
    weights_after: str
    sweeps: int
    seconds: float

    def __str__(self) -> str:
        return f"setting {self.attempt + 1}: {self.sweeps} sweeps in {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    attempt: int
    memorised_after: int

    def __str__(self) -> str:
        return f"{self.memorised_after} still memorised"


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
class Registered:
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    batch_id: str
    status: str
    completed: int
    open: int = 0

    def __str__(self) -> str:
        waiting = f", {self.open} handed to a human" if self.open else ""
        return f"{self.status}, {self.completed} requests completed{waiting}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    path: str

    def __str__(self) -> str:
        return self.path
