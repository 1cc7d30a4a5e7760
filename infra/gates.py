"""Gates: named metrics with bounds. They fail closed: a missing, NaN or infinite metric does not pass.

The numbers are judged twice, by plain comparison here and by a Great Expectations suite over the one-row metric table;
a gate passes only if both say so, and none passes if the suite cannot run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeGuard

from infra.expectations import judge_metrics
from revs.errors import BadInput, GateRefused, OperationFailed


def _is_finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A metric and the range it must lie in, both ends included; at least one end is given.

    A gate that is not `required` is skipped when its metric is absent (nothing to measure it on); present, it counts.
    """

    metric: str
    low: float | None = None
    high: float | None = None
    required: bool = True

    def __post_init__(self) -> None:
        ends = [end for end in (self.low, self.high) if end is not None]
        if not ends or not all(_is_finite(end) for end in ends):
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
        if not _is_finite(value):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The gates of a promotion; at least one, each metric once."""

    gates: tuple[Gate, ...]

    DEFAULT: ClassVar[GatePolicy]

    def __post_init__(self) -> None:
        metrics = [gate.metric for gate in self.gates]
        if not metrics:
            raise BadInput("a gate policy without gates would pass everything: name at least one gate")
        if twice := sorted({metric for metric in metrics if metrics.count(metric) > 1}):
            raise BadInput(f"gates named twice: {', '.join(twice)}; give each metric one gate")

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> GatePolicy:
        """Read `{"efficacy": {"low": 90}, "generality": {"low": 50, "required": false}}`, as from a YAML or JSON file.

        Raises:
            BadInput: an entry is not such a mapping, or a bound is not usable.
        """
        return cls(gates=tuple(_gate(metric, entry) for metric, entry in table.items()))

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """What `from_dict` reads back."""
        return {gate.metric: {"low": gate.low, "high": gate.high, "required": gate.required} for gate in self.gates}


# Optional are those whose material a corpus may lack: contexts kept unseen, other people's memorised identifiers, a
# second layer. What is measured must hold; what every batch can measure must be measured.
GatePolicy.DEFAULT = GatePolicy(
    gates=(
        Gate(metric="extraction_rate", high=0),
        Gate(metric="extraction_rate_unseen", high=0, required=False),
        Gate(metric="efficacy", low=95),
        Gate(metric="generality", low=80, required=False),
        Gate(metric="specificity", low=80, required=False),
        Gate(metric="logit_lens", low=90),
        Gate(metric="delta", low=50, required=False),
        Gate(metric="perturbation", low=80),
        Gate(metric="perplexity_ratio", high=1.02),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate's outcome. `value` is None if the metric was missing, NaN or infinite: then it did not pass."""

    name: str
    value: float | None
    bound: str
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """The record that evidence and summary hold."""
        return {"name": self.name, "value": self.value, "bound": self.bound, "passed": self.passed}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """All outcomes, in the order of the policy. `problem` says why nothing could be judged; then nothing passed."""

    results: tuple[GateResult, ...]
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether there are results and every one of them passed."""
        return bool(self.results) and all(result.passed for result in self.results)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the gates that did not pass."""
        return tuple(result.name for result in self.results if not result.passed)

    def raise_if_refused(self) -> None:
        """Raise GateRefused unless `passed`, naming each failed gate with its value and bound."""
        if self.passed:
            return
        if self.problem:
            raise GateRefused(f"no gate could be judged: {self.problem}")
        failed = [f"{r.name} {_shown(r.value)} (must be {r.bound})" for r in self.results if not r.passed]
        raise GateRefused(
            f"{len(failed)} of {len(self.results)} gates refused: {'; '.join(failed)}; the champion was not touched"
        )


def check_gates(metrics: Mapping[str, float], policy: GatePolicy) -> GateReport:
    """Judge one table of metrics. Never raises over a value: whatever cannot be judged has failed."""
    gates = [gate for gate in policy.gates if gate.required or gate.metric in metrics]
    values = {gate.metric: _number(metrics.get(gate.metric)) for gate in gates}
    agreed: frozenset[str] = frozenset()
    problem = None
    try:
        agreed = judge_metrics(values, {gate.metric: (gate.low, gate.high) for gate in gates})
    except OperationFailed as error:
        problem = str(error)
    return GateReport(
        problem=problem,
        results=tuple(
            GateResult(
                name=gate.metric,
                value=values[gate.metric],
                bound=gate.bound,
                passed=gate.admits(values[gate.metric]) and gate.metric in agreed,
            )
            for gate in gates
        ),
    )


def _gate(metric: str, entry: object) -> Gate:
    if not isinstance(entry, Mapping) or not entry.keys() <= {"low", "high", "required"}:
        raise BadInput(f"gate {metric!r} is not a mapping of low, high and required: write e.g. {{low: 90}}")
    required = entry.get("required", True)
    if not isinstance(required, bool):
        raise BadInput(f"gate {metric!r}: required is neither true nor false")
    return Gate(metric=metric, low=entry.get("low"), high=entry.get("high"), required=required)


def _number(value: object) -> float | None:
    return float(value) if _is_finite(value) else None


def _shown(value: float | None) -> str:
    return "missing or not a number" if value is None else f"{value:g}"
