"""Gates: named metrics with bounds. They fail closed: a missing, NaN or infinite metric does not pass.

The numbers are judged twice, by plain comparison here and by a Great Expectations suite over the one-row metric table;
a gate passes only if both say so, and none passes if the suite cannot run. There are three verdicts: what was measured
passes, what was measured is refused, or too little was measured to say (then a human decides).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import rfc8785

from infra.gates.comparison import is_finite
from infra.gates.expectations import judge_metrics
from infra.gates.policy_file import Action, Need, read_table
from revs.errors import BadInput, GateRefused, OperationFailed

Verdict = Literal["passed", "refused", "insufficient"]

# Why there may be nothing to measure these on.
_NO_CHAIN = "the evidence of a version of its lineage is missing, was changed or lacks the number"
_UNMEASURED = {
    "extraction_rate_unseen": "no context of an erased identifier was held out",
    "exact_memorization_beyond_chance_unseen": "no context of an erased identifier was held out",
    "extraction_strength_beyond_chance_unseen": "no context of an erased identifier was held out",
    "worst_secret_beyond_chance_unseen": "no context of an erased identifier was held out",
    "generality": "no context of an erased identifier was held out",
    "specificity": "no memorised record of other people was found",
    "specificity_root": _NO_CHAIN,
    "perplexity_ratio_root": _NO_CHAIN,
}
_POLICIES = Path(__file__).with_name("policies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A metric and the range it must lie in, both ends included; at least one end is given.

    `need` says what an absent metric means; a metric that is present always counts, whatever its value.
        required: the gate fails, for every batch can measure it.
        evidence: the corpus had nothing to measure it on; the verdict is "insufficient", and a human decides.
        optional: the gate is skipped, for the model or the batch has no such thing.

    `action` says what a metric out of its range means: "block" refuses, "warn" is shown everywhere and refuses nothing.
    `guards` says in a sentence what the gate is for.
    """

    metric: str
    low: float | None = None
    high: float | None = None
    need: Need = "required"
    action: Action = "block"
    guards: str = ""

    def __post_init__(self) -> None:
        for field, values in (("need", get_args(Need)), ("action", get_args(Action))):
            if (value := getattr(self, field)) not in values:
                raise BadInput(f"gate {self.metric!r}: {field} is {value!r}; write one of {', '.join(values)}")
        if not isinstance(self.guards, str):
            raise BadInput(f"gate {self.metric!r}: guards is no sentence")
        ends = [end for end in (self.low, self.high) if end is not None]
        if not ends or not all(is_finite(end) for end in ends):
            raise BadInput(f"gate {self.metric!r} has no usable bound: give a finite number as low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise BadInput(f"gate {self.metric!r} can never pass: low {self.low:g} is above high {self.high:g}")

    @property
    def bound(self) -> str:
        """The range as a reader writes it: `≥ 90`, `≤ 1.02`, `≥ 0 and ≤ 5`."""
        low = [] if self.low is None else [f"≥ {self.low:g}"]
        high = [] if self.high is None else [f"≤ {self.high:g}"]
        return " and ".join(low + high)

    def admits(self, value: object) -> bool:
        """Whether the value is a finite number within the range."""
        low, high = self._ends
        return is_finite(value) and low <= value <= high

    def as_strict_as(self, other: Gate) -> bool:
        """Whether everything that passes here passes `other` too, a missing metric included."""
        needs, actions = get_args(Need), get_args(Action)
        (low, high), (least, most) = self._ends, other._ends
        as_needed = needs.index(self.need) <= needs.index(other.need)
        return as_needed and actions.index(self.action) <= actions.index(other.action) and least <= low and high <= most

    @property
    def _ends(self) -> tuple[float, float]:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The gates of a promotion; at least one that blocks, each metric once."""

    gates: tuple[Gate, ...]

    DEFAULT: ClassVar[GatePolicy]
    RANKS: ClassVar[GatePolicy]

    def __post_init__(self) -> None:
        metrics = [gate.metric for gate in self.gates]
        if all(gate.action == "warn" for gate in self.gates):
            raise BadInput("a gate policy without gates that block would pass everything: name at least one")
        if twice := sorted({metric for metric in metrics if metrics.count(metric) > 1}):
            raise BadInput(f"gates named twice: {', '.join(twice)}; give each metric one gate")

    @classmethod
    def of(cls, method: str | None, file: Path | None = None) -> GatePolicy:
        """The policy of an installation for what a method of `revs.METHODS` made.

        Args:
            method: `RANKS` belongs to fixed ranks alone; None: not known.
            file: the installation's own policy (`REVS_GATE_POLICY`), which judges whatever made it.

        Raises:
            BadInput: the file cannot be read as a policy.
        """
        if file is not None:
            return cls.read(file)
        return cls.RANKS if method == "revs" else cls.DEFAULT

    @classmethod
    def read(cls, file: Path, *, known: bool = True) -> GatePolicy:
        """Read a policy from a YAML file (`infra.gates.policy_file`).

        Args:
            file: of the user, or one of those in `policies/`.
            known: as `read_table` takes it.

        Raises:
            BadInput: it is none; one line with its name and what is wrong.
        """
        table = read_table(file, known=known)
        try:
            return cls.from_dict(table)
        except BadInput as error:
            raise BadInput(f"the gate policy {file}: {error}") from None

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> GatePolicy:
        """Read `{"efficacy": {"low": 90}, "generality": {"low": 50, "need": "evidence"}}`, as evidence holds it.

        `required: true | false`, as older records have it, is read as need "required" and "optional".

        Raises:
            BadInput: an entry is not such a mapping, or a bound is not usable.
        """
        return cls(gates=tuple(_gate(metric, entry) for metric, entry in table.items()))

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """What `from_dict` reads back."""
        return {
            gate.metric: {"low": gate.low, "high": gate.high, "need": gate.need, "action": gate.action}
            | ({"guards": gate.guards} if gate.guards else {})
            for gate in self.gates
        }

    @property
    def digest(self) -> str:
        """SHA-256 of `to_dict` as canonical JSON (RFC 8785): the same however the file was laid out."""
        return f"sha256:{hashlib.sha256(rfc8785.dumps(self.to_dict())).hexdigest()}"

    def looser_than(self, other: GatePolicy) -> tuple[str, ...]:
        """Names of the metrics for which `other` blocks and this policy does not, or lets more of them pass."""
        mine = {gate.metric: gate for gate in self.gates}
        blocking = (gate for gate in other.gates if gate.action == "block")
        return tuple(
            gate.metric for gate in blocking if gate.metric not in mine or not mine[gate.metric].as_strict_as(gate)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate's outcome. `value` is None if the metric was missing, NaN or infinite: then it did not pass."""

    name: str
    value: float | None
    bound: str
    passed: bool
    action: Action = "block"

    @property
    def told(self) -> str:
        """The value beside its bound, as a clause."""
        value = "missing or not a number" if self.value is None else f"{self.value:g}"
        return f"{self.name} {value} (must be {self.bound})"

    def to_dict(self) -> dict[str, Any]:
        """The record that evidence holds; `action` only where the gate warns, as no earlier record has it."""
        record = asdict(self)
        return record if self.action == "warn" else {key: record[key] for key in record if key != "action"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """All outcomes, in the order of the policy.

    Attributes:
        policy: by which it was judged.
        results: the gates that were judged.
        insufficient: gates that promotion needs and whose metric was not measured.
        unjudged: identifiers that were asked for and not judged, each with the reason; never a value.
        problem: why nothing could be judged; then nothing passed.
    """

    policy: GatePolicy
    results: tuple[GateResult, ...]
    insufficient: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Refused if a gate failed or none was judged, else insufficient if evidence is missing, else passed."""
        blocking = [result for result in self.results if result.action == "block"]
        if self.problem or self.failed or not (blocking or self.insufficient):
            return "refused"
        return "insufficient" if self.insufficient or self.unjudged else "passed"

    @property
    def passed(self) -> bool:
        """Whether the verdict is "passed"."""
        return self.verdict == "passed"

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the gates that were judged, did not pass and block."""
        return tuple(result.name for result in self.results if not result.passed and result.action == "block")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Names of the gates that did not pass and only warn."""
        return tuple(result.name for result in self.results if not result.passed and result.action == "warn")

    def to_dict(self) -> dict[str, Any]:
        """The record that evidence and `--json` hold."""
        return {
            "verdict": self.verdict,
            "gates": [result.to_dict() for result in self.results],
            "insufficient": list(self.insufficient),
            "warnings": list(self.warnings),
            "policy_digest": self.policy.digest,
            "unjudged": list(self.unjudged),
        } | ({"problem": self.problem} if self.problem else {})

    @property
    def why_insufficient(self) -> str:
        """What was not measured and why, as one clause; "" where nothing is missing."""
        unmeasured = [
            f"{name} was not measured because {_UNMEASURED.get(name, 'there was nothing to measure it on')}"
            for name in self.insufficient
        ]
        return "; ".join([*unmeasured, *self.unjudged])

    def raise_if_refused(self) -> None:
        """Raise GateRefused unless `passed`, naming each failed or missing gate with what would help."""
        if self.passed:
            return
        if self.problem:
            raise GateRefused(f"no gate could be judged: {self.problem}")
        if self.verdict == "insufficient":
            raise GateRefused(
                f"insufficient evidence: {self.why_insufficient}; the champion was not touched: add contexts or "
                "records to the corpus, or let a human promote it with 'revs promote URI --approved-by NAME'"
            )
        blocking = [result for result in self.results if result.action == "block"]
        failed = [result.told for result in blocking if not result.passed]
        raise GateRefused(
            f"{len(failed)} of {len(blocking)} gates refused: {'; '.join(failed)}; the champion was not touched"
        )


def check_gates(metrics: Mapping[str, float], policy: GatePolicy) -> GateReport:
    """Judge one table of metrics. Never raises over a value: whatever cannot be judged has failed."""
    gates = [gate for gate in policy.gates if gate.metric in metrics or _counts_unmeasured(gate)]
    values = {gate.metric: _number(metrics.get(gate.metric)) for gate in gates}
    agreed: frozenset[str] = frozenset()
    problem = None
    try:
        agreed = judge_metrics(values, {gate.metric: (gate.low, gate.high) for gate in gates})
    except OperationFailed as error:
        problem = str(error)
    return GateReport(
        policy=policy,
        problem=problem,
        insufficient=tuple(
            gate.metric
            for gate in policy.gates
            if gate.need == "evidence" and gate.metric not in metrics and gate.action == "block"
        ),
        results=tuple(
            GateResult(
                name=gate.metric,
                value=values[gate.metric],
                bound=gate.bound,
                passed=gate.admits(values[gate.metric]) and gate.metric in agreed,
                action=gate.action,
            )
            for gate in gates
        ),
    )


def _counts_unmeasured(gate: Gate) -> bool:
    """Whether the gate is judged where its metric is missing; one that only warns must still say so."""
    return gate.need == "required" or (gate.need == "evidence" and gate.action == "warn")


def _gate(metric: str, entry: object) -> Gate:
    if not isinstance(entry, Mapping) or not entry.keys() <= {"low", "high", "need", "required", "action", "guards"}:
        raise BadInput(
            f"gate {metric!r} is not a mapping of low, high, need, action and guards: write e.g. {{low: 90}}"
        )
    need, action, guards = _need(metric, entry), entry.get("action", "block"), entry.get("guards", "")
    return Gate(metric=metric, low=entry.get("low"), high=entry.get("high"), need=need, action=action, guards=guards)


def _need(metric: str, entry: Mapping[str, Any]) -> Need:
    required = entry.get("required", True)
    if not isinstance(required, bool):
        raise BadInput(f"gate {metric!r}: required is neither true nor false")
    need: Need = entry.get("need", "required" if required else "optional")
    return need


def _number(value: object) -> float | None:
    return float(value) if is_finite(value) else None


# For edits to the reference, and for edits to fixed ranks.
GatePolicy.DEFAULT = GatePolicy.read(_POLICIES / "reference.yaml", known=False)
GatePolicy.RANKS = GatePolicy.read(_POLICIES / "ranks.yaml", known=False)
