"""A folder or a prefix of an object store into which other systems put request files: each is taken once.

A file is stored, then moved: to `taken/` beside it, or to `refused/` with one line that says why. Cut off in between,
the next look stores nothing more, because the store knows the same submission, and moves the file then.

What is still being written is left: names that begin with "." or end in ".part" or ".tmp", and a file that changes
between two looks. Whoever writes should write under such a name, and rename.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from infra.permissions import make_private
from infra.requests.intake import FORMATS, MAX_BYTES, refuse_too_large
from infra.requests.records import Intake
from infra.requests.wiping import wipe
from revs.errors import BadInput, OperationFailed, RevsError

TAKEN, REFUSED = "taken", "refused"
UNFINISHED = (".part", ".tmp")
_SETTLED_SECONDS = 60  # a file on a disk that was written so long ago is looked at once
_PAUSE_SECONDS = 2.0
_NAMED_AT_MOST = 10

Take = Callable[[bytes, str], Intake]
"""Stores the bytes of a request file of a name, and says what became of its requests; BadInput where it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one look brought: files, and requests of those that were taken.

    Attributes:
        taken: Files that were stored and moved or destroyed.
        refused: Files that are none, or of which no request could be taken.
        left: Files that changed while they were looked at.
        stuck: Files that could not be read, moved or destroyed; one that was stored is not stored again.
        accepted: Requests.
        rejected: Requests.
        duplicates: Requests.
    """

    taken: int = 0
    refused: int = 0
    left: int = 0
    stuck: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0


class Inbox:
    """The files at an address.

    Args:
        address: A folder, or an address that fsspec knows, such as `s3://bucket/prefix`; it holds no key.
        after: What happens to a file that was taken: "keep" moves it to `taken/`, "shred" destroys it.
        pause: Called between two looks at files that were written just now.

    Raises:
        BadInput: The address is none that can be used.
    """

    def __init__(
        self,
        address: str,
        *,
        after: Literal["keep", "shred"] = "keep",
        pause: Callable[[], None] = lambda: time.sleep(_PAUSE_SECONDS),  # time for a writer to go on
    ) -> None:
        from infra.corpus.source import file_system

        try:
            self._fs, self._root = file_system(address)
        except BadInput:  # its text is about corpora
            raise BadInput(
                "REVS_INBOX is no folder and no address that can be used; write a path, or an address such as "
                "s3://bucket/prefix without a key in it (for s3:// pip install 'revs[s3]')"
            ) from None
        self._after, self._pause = after, pause
        self._is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else [self._fs.protocol])

    def collect(self, take: Take) -> Collected:
        """Take every file that is complete, in the order of their names; what is wrong with one stops no other.

        Raises:
            OperationFailed: The inbox cannot be read, or the store cannot be used; what was taken is taken.
        """
        counts = dict.fromkeys(Collected.__dataclass_fields__, 0)
        with _one_line_errors():
            first = self._look()
            if any(self._is_fresh(info) for info in first.values()):
                self._pause()
            now = self._look()
        for name in sorted(first.keys() | now.keys()):
            if name not in first or name not in now or _mark(first[name]) != _mark(now[name]):
                counts["left"] += 1
                continue
            try:
                for what, count in self._one(name, now[name], take).items():
                    counts[what] += count
            except RevsError:  # of the store
                raise
            except Exception:  # each object store raises its own; the file stays, the others go on
                counts["stuck"] += 1
        return Collected(**counts)

    def waiting(self) -> int:
        """Return how many files there are that may be complete; nothing is taken.

        Raises:
            OperationFailed: The inbox cannot be read.
        """
        with _one_line_errors():
            return len(self._look())

    def _one(self, name: str, info: dict[str, Any], take: Take) -> dict[str, int]:
        path, kind = f"{self._root}/{name}", PurePosixPath(name).suffix.lower()
        try:
            refuse_too_large(info["size"] or 0, name="the file")
            with self._fs.open(path, "rb") as file:
                data: bytes = file.read(MAX_BYTES + 1)
            intake = take(data, f"the file{kind if kind in FORMATS else ''}")
        except BadInput as error:
            return self._refuse(name, str(error))
        except FileNotFoundError:  # somebody else took it
            return {}
        if intake.ended_unfulfilled:
            why = (
                f"it was handed in before, and {', '.join(intake.ended_unfulfilled[:_NAMED_AT_MOST])} ended withdrawn "
            )
            return self._refuse(name, why + "or refused; 'revs requests add --again' takes it as new")
        if not intake.accepted and not intake.duplicates:
            why = f"none of its {len(intake.rejected)} requests can be taken; "
            return self._refuse(name, why + "'revs requests list --status rejected' shows the reasons")
        counted = ("accepted", "rejected", "duplicates")
        told = {name: 0 if intake.known else len(getattr(intake, name)) for name in counted}
        with suppress(FileNotFoundError):  # somebody else took it too, and moved it: the store took it once
            if _mark(self._info(name)) != _mark(info):  # more was written meanwhile: all of it is taken next time
                return told | {"left": 1}
            try:
                self._put_away(name, data)
            except Exception:  # each object store raises its own; what was stored is counted all the same
                return told | {"stuck": 1}
        return told | {"taken": 1}

    def _put_away(self, name: str, data: bytes) -> None:
        if self._after == "keep":
            self._move(name, self._target(name, TAKEN))
        elif self._is_local:
            wipe(Path(self._root) / name, data)
        else:
            self._fs.rm_file(f"{self._root}/{name}")

    def _refuse(self, name: str, reason: str) -> dict[str, int]:
        target = self._target(name, REFUSED)
        self._write(f"{target}.reason.txt", f"{' '.join(reason.split())}\n".encode())
        self._move(name, target)
        return {"refused": 1}

    def _write(self, path: str, data: bytes) -> None:
        """Write a file anew: whoever may write here can have made a link of this name, which is not followed."""
        if not self._is_local:
            self._fs.pipe_file(path, data)
            return
        draft = f"{path}.{secrets.token_hex(8)}{UNFINISHED[0]}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        os.replace(draft, path)

    def _move(self, name: str, target: str) -> None:
        """Move one file. Not by fsspec's `mv`, to which a star in a name means several."""
        path = f"{self._root}/{name}"
        if self._is_local:
            os.replace(path, target)
        else:
            self._fs.cp_file(path, target)
            self._fs.rm_file(path)

    def _target(self, name: str, folder: str) -> str:
        """Where a file goes; where another one of its name is already, under a name that its content adds to."""
        home = f"{self._root}/{folder}"
        if not self._fs.exists(home):
            self._fs.makedirs(home, exist_ok=True)
        if self._is_local:
            if Path(home).is_symlink():  # whoever may write here could have files moved anywhere
                raise OperationFailed(f"{folder}/ in the inbox is a link; put a folder there")
            make_private(Path(home))
        target = f"{home}/{name}"
        if self._fs.exists(target) and (digest := self._digest(f"{self._root}/{name}")) != self._digest(target):
            part = PurePosixPath(name)
            target = f"{home}/{part.stem}-{digest[:12]}{part.suffix}"
        return target

    def _digest(self, path: str) -> str:
        """What tells two files of a name apart; of a large one its beginning and its size."""
        size = self._fs.info(path)["size"]
        with self._fs.open(path, "rb") as file:
            return hashlib.sha256(f"{size} ".encode() + file.read(MAX_BYTES)).hexdigest()

    def _info(self, name: str) -> dict[str, Any]:
        self._fs.invalidate_cache()
        found: dict[str, Any] = self._fs.info(f"{self._root}/{name}")
        return found

    def _look(self) -> dict[str, dict[str, Any]]:
        """The plain files of the inbox that may be complete, by name. No link is followed."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            if self._is_local or not self._fs.exists(self._root.split("/")[0]):
                raise
            return {}  # nothing was put under this prefix yet
        names = {PurePosixPath(info["name"]).name: info for info in found if info["type"] == "file"}
        return {name: info for name, info in names.items() if _is_finished(name)}

    def _is_fresh(self, info: dict[str, Any]) -> bool:
        """Whether a file may still be written to: an object store shows an object only once it is there as a whole."""
        return self._is_local and info["mtime"] > time.time() - _SETTLED_SECONDS


def _is_finished(name: str) -> bool:
    return not name.startswith(".") and not name.lower().endswith(UNFINISHED)


def _mark(info: dict[str, Any]) -> tuple[int | None, float | datetime | str | None]:
    """What changes when a file does."""
    times = (info.get(name) for name in ("ETag", "etag", "mtime", "LastModified", "last_modified"))
    return info["size"], next((each for each in times if each is not None), None)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except RevsError:
        raise
    except Exception as error:  # clients of object stores have errors of their own, whose text holds names of files
        raise OperationFailed(
            f"the inbox cannot be read ({type(error).__name__}): see that REVS_INBOX is there, and your rights; "
            "nothing is lost, a file is stored before it is moved"
        ) from None
