"""Whatever is promoted, refused, rolled back, moved by hand, retired and killed: the champion passed, and is there."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from registered import GOOD, POLICY, Installation, Killed, closed

from infra.gates.policy import GatePolicy
from infra.requests import Clock
from infra.settings import Settings
from revs.errors import RevsError
from tasks.batch.stage import open_registry, open_store
from tasks.versions.guard import reconcile
from tasks.versions.promote import promote_version
from tasks.versions.registering import register_model
from tasks.versions.retire import Desk, apply
from tasks.versions.rollback import roll_back
from tasks.versions.served import PROMOTED

BAD = GOOD | {
    "gates": [{"name": "efficacy", "value": 10.0, "bound": "≥ 90", "passed": False}],
    "scores": {"after": {"efficacy": 10.0}},
}
WRITES = (
    "create_model_version", "delete_model_version_tag", "log_model_artifacts", "set_model_version_tag",
    "set_registered_model_alias", "update_model_version",
)  # fmt: skip
LATER = timedelta(days=60)  # every period is over
moments = st.none() | st.integers(0, 12)  # after how many writes to the registry the process is killed


class Promotions(RuleBasedStateMachine):
    """One model, and all that is done with its versions."""

    def __init__(self, home: Path, database: Path, checkpoints: tuple[Path, Path]) -> None:
        super().__init__()
        home.mkdir(parents=True)
        shutil.copyfile(database, home / "mlflow.db")
        self.settings, self.checkpoints = Settings(home=home), checkpoints
        self.passed: set[str] = set()
        self.numbers = itertools.count(1)

    @property
    def here(self) -> Installation:
        """As the next process finds it."""
        return Installation(self.settings, open_store(self.settings), open_registry(self.settings), self.checkpoints)

    @initialize()
    def register(self) -> None:
        self.passed.add(register_model(self.settings, self.checkpoints[0], name="demo", corpus="c", tags={}).version)

    @rule(killed=moments)
    def batch_that_passes(self, killed: int | None) -> None:
        here, number = self.here, next(self.numbers)
        with killed_after(killed), suppress(RevsError):
            version, batch_id, evidence = here.candidate(f"{number}", self.checkpoints[number % 2])
            self.passed.add(version.version)
            with here.store.moving_alias("demo"):
                here.registry.promote(version, expected_champion=here.registry.resolve(evidence_source(evidence)))
                here.store.record(PROMOTED, batch_id=batch_id, detail={"version": version.uri})
            here.store.close_batch(
                batch_id, status="completed", outcome={"evidence": closed(evidence, version.version)}
            )
        self.give_up_open_batches()

    @rule(killed=moments)
    def batch_that_is_refused(self, killed: int | None) -> None:
        here, number = self.here, next(self.numbers)
        with killed_after(killed), suppress(RevsError):
            version, batch_id, _ = here.candidate(f"{number}", self.checkpoints[number % 2], **BAD)
            here.store.close_batch(batch_id, status="failed", outcome={})
            with pytest.raises(RevsError):
                promote_version(self.settings, version.uri, approved_by="A. Officer")
        self.give_up_open_batches()

    @rule(number=st.integers(1, 6), killed=moments)
    def promote(self, number: int, killed: int | None) -> None:
        with killed_after(killed), suppress(RevsError):
            promote_version(self.settings, f"models:/demo/{number}", approved_by="A. Officer")

    @rule(reason=st.none() | st.just("answers are garbled"), killed=moments)
    def rollback(self, reason: str | None, killed: int | None) -> None:
        with killed_after(killed), suppress(RevsError):
            roll_back(self.settings, self.here.registry.champion("demo").uri, approved_by="A. Officer", reason=reason)

    @rule(number=st.integers(1, 6))
    def somebody_moves_the_alias(self, number: int) -> None:
        here = self.here
        served = here.registry.alias("demo")
        if str(number) not in {version.version for version in here.registry.versions("demo")}:
            return
        here.point_champion_to(str(number))
        (found,) = reconcile(self.settings, restore=True)
        if not found.restored and here.registry.alias("demo") != served:  # it was not moved back: a human has to
            assert found.problems
            here.point_champion_to(str(served))

    @rule(killed=moments)
    def retire(self, killed: int | None) -> None:
        today = Clock.today
        with pytest.MonkeyPatch.context() as patch, killed_after(killed), suppress(RevsError):
            patch.setattr(Clock, "today", lambda clock: today(clock) + LATER)
            apply(Desk.of(self.settings))

    def give_up_open_batches(self) -> None:
        store = self.here.store
        for batch in store.batches("demo"):
            if batch.status == "open":
                store.hold(batch.id, force=True)
                store.close_batch(batch.id, status="abandoned", outcome={})

    @invariant()
    def the_champion_passed_and_its_bytes_are_what_was_registered(self) -> None:
        registry = self.here.registry
        champion = registry.champion("demo")
        assert champion.version in self.passed
        assert (registry.download(champion) / "model.safetensors").exists()


def evidence_source(evidence: dict[str, Any]) -> str:
    return f"models:/demo/{evidence['model']['version_before']}"


@contextmanager
def killed_after(writes: int | None) -> Iterator[None]:
    """The process dies at the write to the registry after so many others; never, if that is None."""
    from mlflow import MlflowClient

    left = itertools.count(0)

    def dying(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(left) == writes:
                raise Killed
            return work(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        for name in WRITES:
            patch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
        yield


@pytest.mark.parametrize(
    ("examples", "steps"), [(3, 8), pytest.param(20, 15, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_the_champion_passed_its_gates_and_is_there_whatever_happens(
    examples: int, steps: int, empty_database: Path, checkpoints: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(GatePolicy, "DEFAULT", GatePolicy.from_dict(POLICY))
    homes = itertools.count()
    run_state_machine_as_test(
        lambda: Promotions(tmp_path / f"{next(homes)}", empty_database, checkpoints),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
