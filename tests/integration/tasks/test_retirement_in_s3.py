"""Versions that lose their bytes in a bucket that keeps earlier versions of objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chain_of_versions import opened
from registered import Installation

from infra.registry.removal import place
from revs.errors import BadInput, OperationFailed
from tasks.versions.retire import Desk, Retired, apply
from tasks.versions.served import FIRST


def done(*what: str) -> Retired:
    return Retired(retired=what, problems=())


@pytest.fixture
def bucket(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket that keeps versions, with object lock, as the place of artifacts; gives a client."""
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="models", ObjectLockEnabledForBucket=True)
    monkeypatch.setenv("REVS_ARTIFACT_ROOT", "s3://models/root")
    yield client
    resource = boto3.resource("s3").Bucket("models")
    resource.object_versions.delete()
    resource.delete()


@pytest.fixture
def here(
    bucket: Any, empty_database: Path, checkpoints: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """An installation whose versions lie in that bucket; version 1 of "demo" is champion."""
    settings, store, registry = opened(tmp_path / "home", monkeypatch, empty_database)
    base = registry.register_base(checkpoints[0], name="demo", corpus="corpus.txt")
    store.record(FIRST, detail={"version": base.uri})
    return Installation(settings, store, registry, checkpoints)


def stored_versions(client: Any) -> list[tuple[str, str]]:
    page = client.list_object_versions(Bucket="models")
    return [(each["Key"], each["VersionId"]) for each in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]]


def test_in_a_bucket_with_versions_no_version_no_marker_and_no_upload_is_left(
    bucket: Any, desk: Desk, here: Installation
) -> None:
    here.batch("one", here.checkpoints[1])
    old = here.registry.resolve("models:/demo/1")
    prefix = old.source.removeprefix("s3://models/")
    key = f"{prefix}/model/model.safetensors"
    bucket.put_object(Bucket="models", Key=key, Body=b"a second version")
    bucket.delete_object(Bucket="models", Key=key)  # what MLflow's own deletion does: a marker
    bucket.create_multipart_upload(Bucket="models", Key=f"{prefix}/model/part.bin")
    assert len([each for each in stored_versions(bucket) if each[0] == key]) == 3
    assert apply(desk).retired == (old.uri,)
    assert [each for each in stored_versions(bucket) if each[0].startswith(prefix)] == []
    assert "Uploads" not in bucket.list_multipart_uploads(Bucket="models", Prefix=prefix)
    assert here.store.events(event="version.retired")[0].detail["looked"] == "s3"
    assert here.registry.download(here.registry.champion("demo")).is_dir()
    with pytest.raises(BadInput, match="was retired on"):
        here.registry.download(here.registry.resolve(old.uri))


def test_an_object_that_the_bucket_keeps_is_named(bucket: Any, desk: Desk, here: Installation) -> None:
    here.batch("one", here.checkpoints[1])
    location = here.registry.resolve("models:/demo/1").source
    locked = {"Bucket": "models", "Key": f"{location.removeprefix('s3://models/')}/model/model.safetensors"}
    bucket.put_object_legal_hold(**locked, LegalHold={"Status": "ON"})
    (problem,) = apply(desk).problems
    assert f"bytes of models:/demo/1 are left: s3://models/{locked['Key']}; it is not retired" in problem
    assert here.store.events(event="version.retired") == []
    bucket.put_object_legal_hold(**locked, LegalHold={"Status": "OFF"})
    assert apply(desk) == done("models:/demo/1")


def test_a_bucket_that_cannot_be_listed_is_an_error_in_one_line(bucket: Any) -> None:
    with pytest.raises(OperationFailed, match=r"below s3://nowhere/m/ cannot be listed \(NoSuchBucket\)"):
        list(place("s3://nowhere/m", "sqlite://").left())
