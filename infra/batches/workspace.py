"""The folder of one batch: what each stage found, so that a killed batch goes on where it stopped.

Only ids, places, numbers and digests are written here, the edited checkpoint, and sums of activations that the next
attempt of the edit needs again; never an identifier or a prompt.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from revs.errors import OperationFailed


class Workspace:
    """One batch's folder below `root`, made when something is first written, readable by its owner only."""

    def __init__(self, root: Path, batch_id: str) -> None:
        self.folder = root / batch_id

    def read(self, stage: str) -> dict[str, Any] | None:
        """What `stage` recorded, or None if it has not finished.

        A record that is none, as a power cut may leave it, is set aside under another name: the stage runs again.
        """
        path = self._path(stage)
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:  # no JSON, or no text at all
            record = None
        if not isinstance(record, dict):
            path.replace(path.with_suffix(".broken"))
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
        """Record the result of `stage` in one step: after a crash it is there in full or not at all.

        Raises:
            OperationFailed: the disk is full, or the folder cannot be written to.
        """
        path = self._path(stage)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with scratch.open("w", encoding="utf-8") as file:
                json.dump(record, file, indent=1, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
            _sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):
                scratch.unlink()
            raise OperationFailed(
                f"batch {self.folder.name}: the record of stage {stage!r} cannot be written to {self.folder} "
                f"({error.strerror}); free space or make it writable, and start the flow again, it resumes"
            ) from None
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

    def stages(self) -> list[str]:
        """The stages that have recorded a result, in alphabetical order."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def remove(self) -> None:
        """Delete the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, stage: str) -> Path:
        return self.folder / f"{stage}.json"


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder last: without it a power cut may bring back what stood there before."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
