"""Stored files that are deleted for good, and the search for what is left of them: a local folder, S3, any other store.

In S3 a deleted object of a bucket with versioning stays, behind a marker: here every version of it goes, the markers,
and the parts of uploads that were never completed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlparse

from infra.registry.service import local_path
from revs.errors import OperationFailed

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

NOTHING: Final[frozenset[str]] = frozenset()
_AT_ONCE = 1000  # objects that S3 deletes in one call


class Place(Protocol):
    """A folder of a store. Names in `keep` stand directly below it and stay."""

    looked: str
    """How absence is found out, as a code for the record: "file", "s3" or "listing"."""

    def remove(self, keep: frozenset[str] = NOTHING) -> None:
        """Delete what is below it. What cannot be deleted is left, for `left` to find."""
        ...

    def left(self, keep: frozenset[str] = NOTHING) -> Iterator[str]:
        """What is still there, each named.

        Raises:
            OperationFailed: that cannot be seen.
        """
        ...


def place(uri: str, tracking_uri: str) -> Place:
    """The folder at an artifact URI."""
    path = local_path(uri)
    if path is not None:
        return _Local(path)
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(uri, tracking_uri=tracking_uri)
    return _S3(uri, repository) if urlparse(uri).scheme == "s3" else _Other(uri, repository)


def overlap(one: str, other: str) -> bool:
    """Whether one of two artifact URIs is the other, or lies below it."""
    first, second = (_parts(uri) for uri in (one, other))
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]


def _parts(uri: str) -> tuple[str, ...]:
    path = local_path(uri)
    if path is not None:
        return ("file", *Path(os.path.realpath(path)).parts)
    parts = urlparse(uri)
    return (parts.scheme, parts.netloc, *filter(None, parts.path.split("/")))


class _Local:
    looked = "file"

    def __init__(self, root: Path) -> None:
        self._root = root

    def remove(self, keep: frozenset[str] = NOTHING) -> None:
        if self._root.is_symlink():
            return
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            for path in list(self._root.iterdir()):
                if path.name not in keep:
                    remove_path(path)
        if not keep:
            remove_path(self._root)

    def left(self, keep: frozenset[str] = NOTHING) -> Iterator[str]:
        if self._root.is_symlink():
            yield f"{self._root} (a link)"
            return
        yield from (str(path) for path in files_in(self._root) if path.parent != self._root or path.name not in keep)


def remove_path(path: Path) -> None:
    """Delete a file, a link or a folder with all that is in it; what cannot be deleted is left."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def files_in(root: Path) -> Iterator[Path]:
    """Every file and link at or below a path, and every folder that cannot be looked into."""
    if root.is_symlink() or root.is_file():
        yield root
        return
    shut: list[Path] = []
    for folder, subfolders, names in os.walk(root, onerror=lambda error: shut.append(Path(error.filename))):
        links = [name for name in subfolders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in (*names, *links))
    yield from (path for path in shut if path.exists())


class _S3:
    looked = "s3"

    def __init__(self, uri: str, repository: Any) -> None:
        parts = urlparse(uri)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/") + "/"
        self._client = repository._get_s3_client()  # with the endpoint and the keys with which MLflow stored the files

    def remove(self, keep: frozenset[str] = NOTHING) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        with suppress(BotoCoreError, ClientError):
            for upload in self._uploads(keep):
                self._client.abort_multipart_upload(Bucket=self._bucket, **upload)
        with suppress(BotoCoreError, ClientError):
            found = list(self._objects(keep))
            for start in range(0, len(found), _AT_ONCE):
                some = {"Objects": found[start : start + _AT_ONCE], "Quiet": True}
                self._client.delete_objects(Bucket=self._bucket, Delete=some)

    def left(self, keep: frozenset[str] = NOTHING) -> Iterator[str]:
        yield from self._seen(self._objects, keep, "versions of objects")
        yield from self._seen(self._uploads, keep, "unfinished uploads")

    def _seen(
        self, listing: Callable[[frozenset[str]], Iterator[dict[str, str]]], keep: frozenset[str], what: str
    ) -> Iterator[str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield from (f"s3://{self._bucket}/{each['Key']}" for each in listing(keep))
        except (BotoCoreError, ClientError) as error:
            said = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
            raise OperationFailed(
                f"the {what} below s3://{self._bucket}/{self._prefix} cannot be listed ({said}), so nobody can tell "
                "whether they are gone: give this program that right, or check the network, then run again"
            ) from None

    def _objects(self, keep: frozenset[str]) -> Iterator[dict[str, str]]:
        """Every version of every object, and every marker."""
        for page in self._pages("list_object_versions"):
            for each in chain(page.get("Versions", ()), page.get("DeleteMarkers", ())):
                if each["Key"].removeprefix(self._prefix) not in keep:
                    yield {"Key": each["Key"], "VersionId": each["VersionId"]}

    def _uploads(self, keep: frozenset[str]) -> Iterator[dict[str, str]]:
        for page in self._pages("list_multipart_uploads"):
            for each in page.get("Uploads", ()):
                if each["Key"].removeprefix(self._prefix) not in keep:
                    yield {"Key": each["Key"], "UploadId": each["UploadId"]}

    def _pages(self, call: str) -> Iterator[dict[str, Any]]:
        yield from self._client.get_paginator(call).paginate(Bucket=self._bucket, Prefix=self._prefix)


class _Other:
    """A store that MLflow reaches and this program does not: what its list shows is all that is known."""

    looked = "listing"

    def __init__(self, uri: str, repository: ArtifactRepository) -> None:
        self._uri, self._repository = uri, repository

    def remove(self, keep: frozenset[str] = NOTHING) -> None:
        if not keep:
            self._repository.delete_artifacts()
            return
        for path in self._files(keep):
            self._repository.delete_artifacts(path)

    def left(self, keep: frozenset[str] = NOTHING) -> Iterator[str]:
        yield from (f"{self._uri}/{path}" for path in self._files(keep))

    def _files(self, keep: frozenset[str], folder: str | None = None) -> list[str]:
        found: list[str] = []
        for entry in self._repository.list_artifacts(folder):
            if entry.is_dir:
                found += self._files(NOTHING, entry.path)
            elif entry.path not in keep:
                found.append(entry.path)
        return found
