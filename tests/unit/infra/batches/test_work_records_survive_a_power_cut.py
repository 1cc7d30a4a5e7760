"""Records of a batch's working folder: there in full or not at all, and never a reason to stop for good."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from infra.batches.record import Record
from infra.batches.workspace import Workspace
from revs.errors import OperationFailed


class Find(Record):
    """A record as stages have them."""

    name: ClassVar[str] = "find"

    rows: int
    share: float = 0.0


class Other(Find):
    name: ClassVar[str] = "other-{}"


class Later(Find):
    """The same record, after its form changed."""

    version: Literal[2] = 2  # type: ignore[assignment]


BROKEN = [
    (b"", "nothing: the file was made, and its bytes were not"),
    (b"\0" * 64, "zeros, as some file systems leave them"),
    (b'{"rows": 1', "cut off"),
    (b"\xff\xfe{", "no text"),
    (b"null", "JSON, but no record"),
    (b"[1, 2]", "JSON, but a list"),
]


@pytest.mark.parametrize("held", [row[0] for row in BROKEN], ids=[row[1] for row in BROKEN])
def test_a_record_that_is_none_is_set_aside_and_made_again(tmp_path: Path, held: bytes) -> None:
    workspace = Workspace(tmp_path, "B-1")
    workspace.write(Other(rows=1), 0)
    (workspace.folder / "find.json").write_bytes(held)
    assert workspace.read(Find) is None
    assert (workspace.folder / "find.broken").read_bytes() == held
    assert workspace.once(Find, lambda: Find(rows=2)) == Find(rows=2) == workspace.read(Find)
    assert workspace.stages() == ["find", "other-0"]


def test_a_record_is_on_the_disk_before_its_name_and_the_name_before_the_stage_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    Workspace(tmp_path, "B-1").write(Find(rows=1))
    assert done == ["file", "rename", "folder"]


def test_a_record_that_cannot_be_written_is_one_line_that_names_batch_stage_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "B-1").write_text("a file where the folder should be")
    with pytest.raises(
        OperationFailed, match=r"batch B-1: the record of stage 'find' cannot be written.*resumes"
    ) as caught:
        Workspace(tmp_path, "B-1").write(Find(rows=1))
    assert "\n" not in str(caught.value)


UNUSABLE = [
    (b'{"rows": 1}', "is of another version than 1", "of before records had versions"),
    (b'{"version": 2, "rows": 1}', "is of another version than 1", "of a later version"),
    (b'{"version": 2, "places": []}', "is of another version than 1", "of a later version with other fields"),
    (b'{"version": 1}', r"is damaged \(rows: Field required\)", "a field is missing"),
    (b'{"version": 1, "rows": "12"}', r"is damaged \(rows: Input should be a valid integer\)", "text for a number"),
    (b'{"version": 1, "rows": 1, "share": NaN}', r"is damaged \(share: .*finite number\)", "no number"),
    (
        b'{"version": 1, "rows": 1, "jane.roe@example.com": 2}',
        "is damaged .a field that is none: ",
        "a name of nobody's",
    ),
    (b'{"version": 1, "rows": 1, "columns": 2}', r"is damaged \(columns: Extra inputs", "a field too many"),
]


@pytest.mark.parametrize(("held", "why"), [row[:2] for row in UNUSABLE], ids=[row[2] for row in UNUSABLE])
def test_a_record_of_another_form_is_refused_with_the_remedy_and_stays(tmp_path: Path, held: bytes, why: str) -> None:
    workspace = Workspace(tmp_path, "B-1")
    workspace.write(Other(rows=1), 0)
    (workspace.folder / "find.json").write_bytes(held)
    line = rf"^batch B-1: the record of stage 'find' {why}.*; nothing more was done: .*'revs batches abandon B-1'"
    for read in (workspace.read, workspace.require, lambda kind: workspace.once(kind, lambda: Find(rows=2))):
        with pytest.raises(OperationFailed, match=line) as caught:
            read(Find)
        assert "\n" not in str(caught.value) and "jane" not in str(caught.value)
        assert caught.value.__cause__ is None
    assert (workspace.folder / "find.json").read_bytes() == held, "nobody writes over what a human has to look at"


def test_a_folder_in_the_place_of_a_record_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "B-1" / "find.json").mkdir(parents=True)
    with pytest.raises(OperationFailed, match=r"'find' cannot be read \(Is a directory\); .*abandon B-1'"):
        Workspace(tmp_path, "B-1").read(Find)


def test_a_record_whose_form_changed_is_refused_both_ways(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "B-1")
    workspace.write(Find(rows=1))
    with pytest.raises(OperationFailed, match="is of another version than 2"):
        workspace.read(Later)
    workspace.write(Later(rows=1))
    with pytest.raises(OperationFailed, match="is of another version than 1"):
        workspace.read(Find)


def test_a_record_is_missed_by_its_name_and_number(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "B-1")
    workspace.write(Other(rows=1), 0)
    assert workspace.require(Other, 0) == Other(rows=1)
    with pytest.raises(OperationFailed, match="stage 'other-1' has not run; start the flow again"):
        workspace.require(Other, 1)
