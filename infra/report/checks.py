"""What the record says about itself: statements that must hold between its own numbers.

They prove nothing about the model. They catch a record that contradicts itself before somebody signs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from infra.report.deadlines import parse
from infra.report.figures import is_number


def checks(data: dict[str, Any]) -> list[tuple[str, bool | None]]:
    """Return every statement and whether it holds, in a fixed order; None: the record lacks what it takes to tell."""
    return [(statement, test(data)) for statement, test in STATEMENTS]


def promoted(data: dict[str, Any]) -> bool:
    """A batch that completed with a new version promoted it; no other did."""
    return data["batch"].get("status") == "completed" and data["model"].get("version_after") is not None


def blocking(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The gates that decide; the others only warn."""
    return [gate for gate in data.get("gates") or [] if gate.get("action") != "warn"]


def _gates_agree(data: dict[str, Any]) -> bool | None:
    gates = blocking(data)
    all_passed = bool(gates) and all(gate.get("passed") is True for gate in gates)
    if promoted(data):
        return all_passed
    return not all_passed if data["batch"].get("status") in ("refused", "split") else None


def _weights_differ(data: dict[str, Any]) -> bool | None:
    before, after = data["model"].get("weights_before"), data["model"].get("weights_after")
    return before != after if before and after else None


def _old_version_has_a_date(data: dict[str, Any]) -> bool | None:
    return parse(data["model"].get("retire_on")) is not None if promoted(data) else None


def _statuses_add_up(data: dict[str, Any]) -> bool | None:
    intake, statuses = data.get("intake") or {}, [row.get("status") for row in data.get("requests") or []]
    counted = [name for name in ("completed", "rejected", "failed") if is_number(intake.get(name))]
    return all(statuses.count(name) == intake[name] for name in counted) if counted else None


def _nothing_came_back(data: dict[str, Any]) -> bool | None:
    rows = [*(data.get("requests") or []), data.get("targets") or {}]
    pairs = [(row.get("memorised_before"), row.get("memorised_after")) for row in rows]
    known = [(before, after) for before, after in pairs if is_number(before) and is_number(after)]
    return all(after <= before for before, after in known) if known else None


def _targets_add_up(data: dict[str, Any]) -> bool | None:
    total = (data.get("targets") or {}).get("memorised_before")
    parts = [row.get("memorised_before") for row in data.get("requests") or []]
    numbers = [part for part in parts if is_number(part)]
    return sum(numbers) == total if is_number(total) and numbers else None


def _gates_judge_the_scores(data: dict[str, Any]) -> bool | None:
    after = (data.get("scores") or {}).get("after") or {}
    pairs = [(gate.get("value"), after[gate["name"]]) for gate in data.get("gates") or [] if gate.get("name") in after]
    return all(_same(value, score) for value, score in pairs) if pairs else None


def _same(first: Any, second: Any) -> bool:
    if is_number(first) and is_number(second):
        return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)
    return bool(first == second)


def _closed_after_receipt(data: dict[str, Any]) -> bool | None:
    closed = parse(data["batch"].get("closed_at"))
    received = [parse(row.get("received")) for row in data.get("requests") or [] if row.get("status") == "completed"]
    known = [day for day in received if day]
    return all(day <= closed for day in known) if closed and known else None


STATEMENTS: tuple[tuple[str, Callable[[dict[str, Any]], bool | None]], ...] = (
    ("A promoted version passed every gate; a refused one failed at least one.", _gates_agree),
    ("The gates judged the values that the scores table shows.", _gates_judge_the_scores),
    ("The weights after the edit differ from the weights before.", _weights_differ),
    ("The superseded version has a date by which its bytes must be deleted.", _old_version_has_a_date),
    ("The requests in the table add up to the counts of the intake.", _statuses_add_up),
    ("The memorised targets of the requests add up to the total.", _targets_add_up),
    ("No request, and not the whole, has more memorised targets after the edit than before.", _nothing_came_back),
    ("No request was completed before it was received.", _closed_after_receipt),
)
