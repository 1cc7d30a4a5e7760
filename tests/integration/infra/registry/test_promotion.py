"""Promotion moves the alias to a candidate whose gates passed, over the version that it was compared with only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from registered import GOOD, PASSED, Killed, flip_last_bit

from infra.registry import ModelVersion, Registry
from revs.errors import GateRefused, OperationFailed


def test_a_promotion_moves_the_alias_and_marks_the_old_version(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    candidate = register()
    registry.promote(candidate, expected_champion=base, retire_on=date(2026, 12, 31))
    champion, old = registry.champion("demo"), registry.resolve("models:/demo/1")
    assert (champion.version, champion.aliases, champion.tags["revs.status"]) == ("2", ("champion",), "champion")
    assert old.aliases == ("previous",)
    assert old.tags["revs.status"] == "superseded"
    assert old.tags["revs.superseded_by"] == "2"
    assert old.tags["revs.retire_on"] == "2026-12-31"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"retire_on": "2027-01-05"}, date(2027, 1, 5)),
        ({"retire_on": None}, None),
        ({}, None),
    ],
)
def test_the_date_of_retirement_is_the_evidences_or_the_retention(
    model: dict[str, Any],
    expected: date | None,
    registry: Registry,
    base: ModelVersion,
    register: Callable[..., ModelVersion],
) -> None:
    registry.promote(register(evidence=GOOD | {"model": model}), expected_champion=base)
    retire_on = date.fromisoformat(registry.resolve("models:/demo/1").tags["revs.retire_on"])
    assert retire_on == (expected or datetime.now(UTC).date() + timedelta(days=10))


def test_a_promotion_killed_after_the_alias_is_finished_by_the_second_call(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    candidate = register()
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_mark_superseded", killed)
        with pytest.raises(Killed):
            registry.promote(candidate, expected_champion=base)
    assert registry.champion("demo").version == "2"
    registry.promote(candidate, expected_champion=base)
    assert registry.resolve("models:/demo/1").tags["revs.status"] == "superseded"


def test_a_second_promotion_does_not_put_the_retirement_off(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    candidate = register()
    registry.promote(candidate, expected_champion=base, retire_on=date(2026, 12, 1))
    registry.promote(candidate, expected_champion=base, retire_on=date(2030, 1, 1))
    assert registry.resolve("models:/demo/1").tags["revs.retire_on"] == "2026-12-01"


def test_a_champion_that_moved_meanwhile_stays(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    first, second = register("b1"), register("b2")
    registry.promote(first, expected_champion=base)
    with pytest.raises(OperationFailed, match="champion of 'demo' is version 2, not version 1"):
        registry.promote(second, expected_champion=base)
    assert registry.champion("demo").version == first.version


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        GOOD | {"gates": []},
        GOOD | {"gates": [*PASSED, {"name": "delta", "value": None, "bound": "≥ 0", "passed": False}]},
        GOOD | {"gates": [{"name": "efficacy", "value": 95.0, "bound": "≥ 90"}]},
        GOOD | {"gates": [{"name": "efficacy", "value": 95.0, "bound": "≥ 90", "passed": "yes"}]},
    ],
    ids=["no evidence", "no gates", "one failed", "no verdict", "a verdict in words"],
)
def test_a_candidate_without_passed_gates_is_refused(
    evidence: dict[str, Any], registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    with pytest.raises(GateRefused):
        registry.promote(register(evidence=evidence), expected_champion=base)
    assert registry.champion("demo") == base


def test_a_base_cannot_be_promoted_without_gates(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path]
) -> None:
    other = registry.register_base(checkpoints[1], name="demo", corpus="c")
    with pytest.raises(GateRefused, match="no gate results"):
        registry.promote(other, expected_champion=base)


def test_a_candidate_is_promoted_only_over_the_version_it_was_compared_with(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    first, second = register("b1"), register("b2")
    registry.promote(first, expected_champion=base)
    with pytest.raises(GateRefused, match="made from and compared with version 1"):
        registry.promote(second, expected_champion=first)


def test_a_candidate_whose_weights_changed_is_not_promoted(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    candidate = register()
    flip_last_bit(registry.download(candidate) / "model.safetensors")
    with pytest.raises(OperationFailed, match="changed after they were registered"):
        registry.promote(candidate, expected_champion=base)
    assert registry.champion("demo") == base
