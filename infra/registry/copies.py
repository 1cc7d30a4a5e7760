"""Local copies of stored versions: made once, verified once, removed with the folder they were put into."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.registry.checkpoint import WEIGHTS_FOLDER, checkpoint_in
from infra.registry.files import INDEX, from_tag
from infra.registry.publishing import fetch
from infra.registry.records import FILES, ModelVersion
from infra.registry.service import local_path

_DOWNLOADED = "revs-model-"
Check = Callable[[ModelVersion, Path], None]


def download(version: ModelVersion, location: str, tracking_uri: str, into: Path | None) -> Path:
    """The checkpoint folder of a version: the stored one where it is local and `into` is None, else a copy.

    A copy that was given no place lies in a temporary folder, which is removed when the process ends.
    """
    if into is None and local_path(location) is None:
        into = Path(tempfile.mkdtemp(prefix=_DOWNLOADED))
        atexit.register(shutil.rmtree, into, ignore_errors=True)
    return checkpoint_in(fetch(location, tracking_uri, into))


def checkout(
    version: ModelVersion, location: str, tracking_uri: str, into: Path, check: Check, *, signed: str | None
) -> Path:
    """The checkpoint folder of a version, verified by `check` unless nothing changed since it was verified here.

    Beside the copy stands a marker with the size and the times of each file: while they are the same, and the version's
    recorded digests are, and `signed`, the digest of its signed files, later stages are spared reading all weights.
    """
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{version.name}-{version.version}"
    marker, place = into / f"{name}.verified.json", into / name
    known = _read(marker)
    if known is not None and known == _state(version, location, Path(known["folder"]), signed):
        return Path(known["folder"])
    marker.unlink(missing_ok=True)
    if local_path(location) is not None:
        folder = checkpoint_in(fetch(location, tracking_uri))
    else:
        shutil.rmtree(place, ignore_errors=True)  # what a killed download left
        folder = checkpoint_in(fetch(location, tracking_uri, place))
    state = _state(version, location, folder, signed)  # before the check: a change is noticed next time
    check(version, folder)
    scratch = marker.with_suffix(".tmp")
    scratch.write_text(json.dumps(state), encoding="utf-8")
    scratch.replace(marker)
    return folder


def weight_files(uri: str, tracking_uri: str, stored: frozenset[str]) -> set[str]:
    """Names of the weight files that the checkpoint at `uri` must have: those of its index, or else at least one."""
    if INDEX in stored:
        with tempfile.TemporaryDirectory(prefix="revs-index-") as scratch, suppress(ValueError, AttributeError):
            text = fetch(f"{uri}/{INDEX}", tracking_uri, Path(scratch)).read_text(encoding="utf-8")
            return set(json.loads(text).get("weight_map", {}).values())
    return set() if any(name.endswith(".safetensors") for name in stored) else {"model.safetensors"}


def light_copy(location: str, tracking_uri: str, into: Path) -> Path:
    """A folder with the files beside the weights: the stored one where it is local, else copies of them in `into`."""
    if local_path(location) is not None:
        return checkpoint_in(fetch(location, tracking_uri))
    uri, names = checkpoint_names(location, tracking_uri)
    for name in names:
        if not name.endswith(".safetensors"):
            fetch(f"{uri}/{name}", tracking_uri, into)
    return checkpoint_in(into)


def checkpoint_names(location: str, tracking_uri: str) -> tuple[str, frozenset[str]]:
    """Where the checkpoint of a stored model lies, and the names of its files, whichever tool laid it out."""
    from mlflow.artifacts import list_artifacts

    for uri in (f"{location}/{WEIGHTS_FOLDER}", location):
        entries = list_artifacts(artifact_uri=uri, tracking_uri=tracking_uri)
        names = frozenset(Path(entry.path).name for entry in entries if not entry.is_dir)
        if "config.json" in names or any(name.endswith(".safetensors") for name in names):
            return uri, names
    return location, frozenset()


def _state(version: ModelVersion, location: str, folder: Path, signed: str | None) -> dict[str, Any] | None:
    """What has to be the same for a copy to be trusted unread; None where there is no such folder any more."""
    with suppress(OSError):
        return {
            "version": version.uri,
            "location": location,
            "folder": str(folder),
            "weights": version.weights,
            "files": version.tags.get(FILES),
            "signed": signed,
            "seen": seen(folder),
        }
    return None


def seen(folder: Path) -> dict[str, list[int]]:
    """Size and times of each file of a folder: while they are the same, nobody wrote to it.

    Raises:
        OSError: there is no such folder any more.
    """
    files = {path.name: path.stat() for path in sorted(folder.iterdir()) if path.is_file()}
    return {name: [each.st_size, each.st_mtime_ns, each.st_ctime_ns] for name, each in files.items()}


def _read(marker: Path) -> dict[str, Any] | None:
    try:
        state: Any = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and isinstance(state.get("folder"), str) else None


def checkouts(version: ModelVersion, root: Path) -> Iterator[Path]:
    """The copies that `checkout` made of a version anywhere below a folder, with their markers."""
    name = f"{version.name}-{version.version}"
    yield from root.glob(f"**/{name}")
    yield from root.glob(f"**/{name}.verified.json")


def downloads(run_id: str, temporary: Path) -> Iterator[Path]:
    """The temporary folders of this user with a copy of the version of a run, which a killed process left.

    Each copy holds what MLflow wrote about the version, its run among it.
    """
    for kind in (_DOWNLOADED, "revs-register-", "revs-lineage-"):
        for folder in temporary.glob(f"{kind}*"):
            if run_id and _is_of(run_id, folder):
                yield folder


def _is_of(run_id: str, folder: Path) -> bool:
    """Whether a folder of this user holds a copy; what goes away meanwhile is another process', which lives."""
    with suppress(OSError):
        if folder.stat().st_uid == os.getuid():
            described = (path.read_text(encoding="utf-8") for path in folder.glob("**/MLmodel"))
            return any(f"run_id: {run_id}" in text for text in described)
    return False


def same_tokenizer(one: ModelVersion, other: ModelVersion) -> bool:
    """Whether two versions have the same files that make a tokenizer, by the digests on record."""
    first, second = (from_tag(version.tags.get(FILES)) or {} for version in (one, other))
    names = {name for name in first.keys() | second.keys() if name not in ("config.json", "generation_config.json")}
    return bool(first) and all(first.get(name) == second.get(name) for name in names)
