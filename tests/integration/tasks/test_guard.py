"""`revs reconcile`: an alias that somebody else moved is told, and moved back where that is wanted."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest
from registered import Installation, flip_last_bit
from typer.testing import CliRunner

from flows.cli.app import app
from infra.requests import RequestStore
from revs.errors import OperationFailed
from tasks.versions.guard import reconcile
from tasks.versions.lineage import registered_detail
from tasks.versions.promote import promote_version


def nobody(here: Installation) -> None: ...


def to_the_version_before(here: Installation) -> None:
    here.point_champion_to("2")


def to_a_candidate_that_was_refused(here: Installation) -> None:
    _, batch_id, _ = here.candidate("three", here.checkpoints[1])
    here.store.close_batch(batch_id, status="failed", outcome={})
    here.point_champion_to("4")


def away(here: Installation) -> None:
    here.registry._client.delete_registered_model_alias("demo", "champion")


def to_a_version_that_is_deleted(here: Installation) -> None:
    with sqlite3.connect(here.settings.home / "mlflow.db") as database:
        database.execute("UPDATE registered_model_aliases SET version = 9 WHERE alias = 'champion'")
    database.close()


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        (to_the_version_before, "was moved to version 2 by somebody else"),
        (to_a_candidate_that_was_refused, "was moved to version 4 by somebody else"),
        (away, "the champion alias of 'demo' is gone, and models:/demo/3 served"),
        (to_a_version_that_is_deleted, "names version 9, which was deleted, and models:/demo/3 served"),
    ],
)
def test_an_alias_that_was_moved_is_told_and_moved_back_once(
    moved: Callable[[Installation], None], said: str, here: Installation, two_batches: tuple[str, str]
) -> None:
    moved(here)
    for _ in range(2):
        (found,) = reconcile(here.settings, restore=False)
        assert said in found.problems[0] and "revs reconcile --restore" in found.problems[0]
    assert here.store.events(event="version.restored") == []
    (found,) = reconcile(here.settings, restore=True)
    assert (found.problems, found.restored) == ((), "models:/demo/3")
    (found,) = reconcile(here.settings, restore=True)
    assert (found.problems, found.restored) == ((), None)
    assert here.registry.alias("demo") == "3"
    before = here.registry.previous("demo")
    assert before is not None and before.version == "2", "what was moved there by hand never served"
    assert len(here.store.events(event="version.restored")) == 1


def test_what_serves_as_it_was_made_champion_is_left_alone(here: Installation, two_batches: tuple[str, str]) -> None:
    (found,) = reconcile(here.settings, restore=True)
    assert (found.model, found.problems, found.restored) == ("demo", (), None)


def test_a_promotion_that_was_cut_off_before_the_log_is_left_to_the_run_that_goes_on(here: Installation) -> None:
    version, batch_id, _ = here.candidate("one", here.checkpoints[1])
    here.store.record("version.registered", batch_id=batch_id, detail=registered_detail(version))
    here.registry.promote(version, expected_champion=here.registry.champion("demo"))
    (found,) = reconcile(here.settings, restore=True)
    assert (found.problems, here.registry.alias("demo")) == ((), "2")


def test_an_alias_is_not_moved_back_to_what_was_changed_since(here: Installation, two_batches: tuple[str, str]) -> None:
    flip_last_bit(here.registry.download(here.registry.champion("demo")) / "model.safetensors")
    here.point_champion_to("2")
    (found,) = reconcile(here.settings, restore=True)
    assert "was not moved back: the weights of models:/demo/3 changed" in found.problems[0]
    assert here.registry.alias("demo") == "2"


def test_a_rollback_to_what_was_erased_is_told_until_it_ends(here: Installation, two_batches: tuple[str, str]) -> None:
    from tasks.versions.rollback import roll_back

    roll_back(here.settings, "models:/demo/3", approved_by="A. Officer", reason="answers are garbled")
    (found,) = reconcile(here.settings, restore=True)
    assert f"models:/demo/2 lacks what completed batches erased: {two_batches[1]}" in found.problems[0]
    assert here.registry.alias("demo") == "2"
    promote_version(here.settings, "models:/demo/3", approved_by=None)
    (found,) = reconcile(here.settings, restore=True)
    assert found.problems == ()


def test_the_command_exits_1_with_one_line_where_something_is_wrong(
    here: Installation, two_batches: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    here.point_champion_to("2")
    done = CliRunner().invoke(app, ["reconcile"])
    assert isinstance(done.exception, OperationFailed) and "1 of 1 models are not as recorded" in str(done.exception)
    done = CliRunner().invoke(app, ["reconcile", "--restore"])
    assert done.exit_code == 0 and "demo: the alias was moved back to models:/demo/3" in done.stdout
    assert "1 models are as recorded" in CliRunner().invoke(app, ["reconcile"]).stdout


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'requests.db'}"
    return str(request.getfixturevalue("new_postgres")())


def test_aliases_of_a_model_are_moved_by_one_at_a_time_and_of_two_models_side_by_side(url: str) -> None:
    from infra.keys.vault import Vault

    one, two = (RequestStore(url, Vault(bytes(32))) for _ in range(2))
    done: list[str] = []

    def second() -> None:
        with two.moving_alias("demo"):
            done.append("second")

    with one.moving_alias("demo"):
        waiting = threading.Thread(target=second)
        waiting.start()
        with two.moving_alias("other"):  # is not held up
            done.append("other")
        with (
            pytest.raises(OperationFailed, match=r"another process has been moving the aliases of 'demo' for 0.1 s"),
            two._database.alone("moving the aliases of 'demo'", seconds=0.1),
        ):
            raise AssertionError("it was alone")
        done.append("first")
    waiting.join(60)
    assert done == ["other", "first", "second"]
    one.close()
    two.close()


@pytest.mark.parametrize("moved_back", [False, True])
def test_the_hourly_flow_fails_where_an_alias_was_moved_or_moves_it_back_if_that_is_wanted(
    moved_back: bool, here: Installation, two_batches: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.stages.reconcile import compare_champions

    monkeypatch.setenv("REVS_ALIAS_MOVED", "restore" if moved_back else "report")
    assert compare_champions.fn() == []
    here.point_champion_to("2")
    if moved_back:
        assert compare_champions.fn() == ["models:/demo/3"]
    else:
        with pytest.raises(OperationFailed, match="was moved to version 2 by somebody else"):
            compare_champions.fn()


def test_a_retired_version_is_not_offered_as_the_champion(here: Installation, two_batches: tuple[str, str]) -> None:
    here.registry._client.set_model_version_tag("demo", "2", "revs.status", "retired")
    here.point_champion_to("2")
    (found,) = reconcile(here.settings, restore=False)
    assert "revs reconcile --restore" in found.problems[0] and "revs promote" not in found.problems[0]
