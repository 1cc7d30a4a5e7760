"""The folder of one batch: what each stage found, so that a killed batch goes on where it stopped.

Only ids, places, numbers and digests are written here, the edited checkpoint, and sums of activations that the next
attempt of the edit needs again; never an identifier or a prompt.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from infra.batches.record import Record, fault_in, table_in
from revs.errors import OperationFailed

R = TypeVar("R", bound=Record)


class Workspace:
    """One batch's folder below `root`, made when something is first written, readable by its owner only.

    Args:
        root: where the folders are.
        name: id of the batch, or of whatever else keeps its unfinished work in a folder.
        remedy: what to do about a record that cannot be used; by default that of a batch.
    """

    def __init__(self, root: Path, name: str, *, remedy: str | None = None) -> None:
        self.folder = root / name
        self._remedy = remedy or f"give the batch up with 'revs batches abandon {name}': its requests wait for the next"

    def read(self, kind: type[R], number: int | None = None) -> R | None:
        """The record of this kind (and number, where there are several), or None if its stage has not finished.

        What is no record at all, as a power cut may leave it, is set aside under another name: the stage runs again.

        Raises:
            OperationFailed: another version of the program wrote it, or it is damaged or cannot be read.
        """
        path = self._path(kind, number)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(kind, number, f"cannot be read ({error.strerror})") from None
        table = table_in(raw)
        if table is None:
            path.replace(path.with_suffix(".broken"))
            return None
        if table.get("version") != kind.current():
            raise self._unusable(
                kind, number, f"is of another version than {kind.current()}, the one this program reads"
            )
        try:
            return kind.model_validate_json(raw)
        except ValidationError as error:
            raise self._unusable(kind, number, f"is damaged ({fault_in(error)})") from None

    def require(self, kind: type[R], number: int | None = None) -> R:
        """The same; OperationFailed where its stage has not finished."""
        record = self.read(kind, number)
        if record is None:
            raise OperationFailed(
                f"batch {self.folder.name}: stage {kind.file_name(number)!r} has not run; start the flow again, it "
                "resumes"
            )
        return record

    def write(self, record: R, number: int | None = None) -> R:
        """Write a record in one step: after a crash it is there in full or not at all.

        Raises:
            OperationFailed: the disk is full, or the folder cannot be written to.
        """
        path = self._path(type(record), number)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with scratch.open("w", encoding="utf-8") as file:
                file.write(record.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
            _sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):
                scratch.unlink()
            raise OperationFailed(
                f"batch {self.folder.name}: the record of stage {path.stem!r} cannot be written to {self.folder} "
                f"({error.strerror}); free space or make it writable, and start the flow again, it resumes"
            ) from None
        return record

    def once(self, kind: type[R], work: Callable[[], R], number: int | None = None) -> R:
        """The record of this kind; runs `work` and writes what it gives where there is none."""
        return self.read(kind, number) or self.write(work(), number)

    def subfolder(self, name: str) -> Path:
        """An empty subfolder; what an earlier attempt left in it is removed."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def stages(self) -> list[str]:
        """The names of the records that there are, in alphabetical order."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def remove(self) -> None:
        """Delete the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, kind: type[Record], number: int | None) -> Path:
        return self.folder / f"{kind.file_name(number)}.json"

    def _unusable(self, kind: type[Record], number: int | None, why: str) -> OperationFailed:
        return OperationFailed(
            f"batch {self.folder.name}: the record of stage {kind.file_name(number)!r} {why}; nothing more was done: "
            f"{self._remedy}"
        )


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder last: without it a power cut may bring back what stood there before."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
