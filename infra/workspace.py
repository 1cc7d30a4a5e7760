"""The folder of one batch: what each stage found, so that a killed batch goes on where it stopped.

Only ids, places, numbers and digests are written here, the edited checkpoint, and sums of activations that the next
attempt of the edit needs again; never an identifier or a prompt.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from revs.errors import OperationFailed


class Workspace:
    """One batch's folder below `root`, made when something is first written, readable by its owner only."""

    def __init__(self, root: Path, batch_id: str) -> None:
        self.folder = root / batch_id

    def read(self, stage: str) -> dict[str, Any] | None:
        """What `stage` recorded, or None if it has not finished."""
        try:
            record: dict[str, Any] = json.loads((self.folder / f"{stage}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return record

    def require(self, stage: str) -> dict[str, Any]:
        """What `stage` recorded; OperationFailed where it has not finished."""
        record = self.read(stage)
        if record is None:
            raise OperationFailed(
                f"batch {self.folder.name}: stage {stage!r} has not run; start the flow again, it resumes"
            )
        return record

    def write(self, stage: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """Record the result of `stage` in one step: after a crash it is there in full or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{stage}.json"
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
        scratch.replace(path)
        return dict(record)

    def once(self, stage: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The recorded result of `stage`; runs `work` and records it where there is none."""
        record = self.read(stage)
        return record if record is not None else self.write(stage, work())

    def subfolder(self, name: str) -> Path:
        """An empty subfolder; what an earlier attempt left in it is removed."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def remove(self) -> None:
        """Delete the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
