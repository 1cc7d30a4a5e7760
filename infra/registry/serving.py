"""For those who serve a model: the champion as a folder, verified before it is handed out, anew when it changes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.permissions import make_private
from infra.registry import copies
from infra.registry.reading import Reader
from infra.registry.records import ModelVersion
from revs.errors import OperationFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is to be served: the version, and the folder with its checkpoint as `save_pretrained` writes it."""

    version: ModelVersion
    folder: Path
    seen: Mapping[str, list[int]]  # size and times of its files when they were verified


class Champion:
    """Follows the serving alias of one model. Not for several threads at once."""

    def __init__(self, registry: Reader, name: str, folder: Path) -> None:
        """Nothing is asked or copied yet.

        Args:
            registry: with the signers whose versions may be served; see `open_registry`.
            name: the registered name.
            folder: for copies, of this process alone; whatever else lies in its subfolder of that name is removed.
        """
        self._registry, self._name, self._folder = registry, name, folder / name
        self._served: Served | None = None

    def current(self) -> Served:
        """The champion now; the same object as the last time while the alias has not moved.

        A new one is copied and verified (signature, tags, evidence, the bytes of every file) before it is returned. Ask
        every minute or so: while nothing moved, and nobody wrote to the copy, it is one call to the registry.

        Raises:
            BadInput: there is no such model, or it has no champion.
            OperationFailed: the champion is not what was registered, or the registry cannot be asked. What was served
                before stays where it is: go on with it, and tell somebody.
        """
        version = self._registry.champion(self._name)
        if self._served is not None and self._served.version.version == version.version and _is_whole(self._served):
            return self._served
        place = self._folder / version.version
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            make_private(self._folder)
            shutil.rmtree(place, ignore_errors=True)  # of a process that ended in the middle
            copy = self._registry.download(version, into=place)
            seen = copies.seen(copy)
        except OSError as error:
            raise OperationFailed(f"{self._folder} cannot be used ({error.strerror}); name another folder") from None
        except OperationFailed:
            shutil.rmtree(place, ignore_errors=True)
            raise
        self._served = Served(version=version, folder=copy, seen=seen)
        for other in self._folder.iterdir():  # also of a process before this one: it holds what was erased since
            if other != place:
                shutil.rmtree(other, ignore_errors=True)
        return self._served


def _is_whole(served: Served) -> bool:
    """Whether nobody wrote to the copy since it was verified."""
    with suppress(OSError):
        return copies.seen(served.folder) == served.seen
    return False
