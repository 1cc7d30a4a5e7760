"""The report that is kept with a version: signed when its batch is closed, and named when a byte of it is another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from registered import Installation, flip_last_bit

from infra.keys.signer import Signers
from infra.registry import ModelVersion
from infra.registry.signatures import REPORT, report_faults
from revs.errors import OperationFailed
from tasks.versions import proofs
from tasks.versions.chain import read_chain
from tasks.versions.on_record import OnRecord
from tasks.versions.served import REPORTED

FILES = {"report.html": b"<p>all is well</p>", "report.json": b'{"all": "well"}', "status.json": b'{"status": "done"}'}


def folder_of(here: Installation, version: ModelVersion) -> Path:
    return Path(here.registry._client.get_run(version.run_id).info.artifact_uri.removeprefix("file://"))


@pytest.fixture
def reported(here: Installation, two_batches: tuple[str, str]) -> tuple[ModelVersion, ModelVersion]:
    """Versions 2 and 3, each with a report of its own."""
    second, third = (here.registry.resolve(f"models:/demo/{number}") for number in (2, 3))
    for version in (second, third):
        digest = here.registry.attach_report(version, FILES | {"status.json": version.uri.encode()})
        here.store.record(REPORTED, detail={"version": version.uri, "list": digest})
    return second, third


def found(here: Installation, version: ModelVersion) -> proofs.Check:
    return proofs.report(here.registry, OnRecord(here.store, "demo"), version, here.registry.recorded(version))


def removed(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", REPORT)
@pytest.mark.parametrize("spoil", [flip_last_bit, emptied, removed])
def test_what_of_a_report_was_changed_is_named(
    name: str, spoil: Callable[[Path], None], here: Installation, reported: tuple[ModelVersion, ModelVersion]
) -> None:
    assert [found(here, version).said for version in reported] == ["as it was signed"] * 2
    spoil(folder_of(here, reported[1]) / name)
    check = found(here, reported[1])
    assert check.holds is False and name in check.said and check.said.startswith("models:/demo/3: ")
    assert found(here, reported[0]).holds


def test_the_report_of_another_version_is_none_of_this_one(
    here: Installation, reported: tuple[ModelVersion, ModelVersion]
) -> None:
    for name in REPORT:
        shutil.copyfile(folder_of(here, reported[0]) / name, folder_of(here, reported[1]) / name)
    recorded = here.registry.recorded(reported[1])
    faults = report_faults(recorded.report, recorded.documents, Signers.of(here.settings))
    assert faults == ["model.sig of its report is not what was signed"]
    with pytest.raises(OperationFailed, match=r"report\.sig, the signed list of its report, is not the one of the log"):
        read_chain(here.settings, "models:/demo/3", read_weights=False).raise_if_broken()


def test_a_version_whose_batch_was_not_closed_and_a_base_have_none(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    said = [found(here, here.registry.resolve(f"models:/demo/{number}")).said for number in (1, 2)]
    assert said == ["none: no batch made it", "none: its batch was not closed, or not here"]
