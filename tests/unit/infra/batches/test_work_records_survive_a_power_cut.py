"""Records of a batch's working folder: there in full or not at all, and never a reason to stop for good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.batches.workspace import Workspace
from revs.errors import OperationFailed

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
    workspace.write("other", {"rows": 1})
    (workspace.folder / "find.json").write_bytes(held)
    assert workspace.read("find") is None
    assert (workspace.folder / "find.broken").read_bytes() == held
    assert workspace.once("find", lambda: {"rows": 2}) == {"rows": 2} == workspace.read("find")
    assert workspace.stages() == ["find", "other"]


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
    Workspace(tmp_path, "B-1").write("find", {"rows": 1})
    assert done == ["file", "rename", "folder"]


def test_a_record_that_cannot_be_written_is_one_line_that_names_batch_stage_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "B-1").write_text("a file where the folder should be")
    with pytest.raises(
        OperationFailed, match=r"batch B-1: the record of stage 'find' cannot be written.*resumes"
    ) as caught:
        Workspace(tmp_path, "B-1").write("find", {})
    assert "\n" not in str(caught.value)
