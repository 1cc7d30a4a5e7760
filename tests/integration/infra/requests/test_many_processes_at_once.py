"""Eight processes hand in while two others open and close batches: nobody is lost, nothing is done twice."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest
import store_crowd
from stored_requests import KEY

from infra.keys.vault import Vault
from infra.requests import RequestStore

SUBMITTERS, CLOSERS = 8, 2


def crowd(url: str, folder: Path, requests: int, limit: float) -> dict[str, object]:
    """Let all of them at the store at once, and return what they did; each of them is ended in the end."""
    children = multiprocessing.get_context("forkserver")
    children.set_forkserver_preload(["infra.requests.store", "psycopg"])
    RequestStore(url, Vault(KEY)).close()
    began = time.monotonic()
    processes = [
        children.Process(target=store_crowd.submit, args=(url, folder, number, requests, SUBMITTERS, 5))
        for number in range(SUBMITTERS)
    ] + [
        children.Process(target=store_crowd.close_batches, args=(url, folder, number, SUBMITTERS))
        for number in range(CLOSERS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(max(1.0, limit - (time.monotonic() - began)))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    assert codes == [0] * len(codes)
    submitted, closed = store_crowd.told(folder, "submitted"), store_crowd.told(folder, "closed")
    return {
        "seconds": round(time.monotonic() - began, 1),
        "seconds handing in": round(max(each["seconds"] for each in submitted), 1),
        "processor seconds": round(sum(each["cpu"] for each in (*submitted, *closed)), 1),
        "handed in": sum(len(each["ids"]) for each in submitted),
        "duplicates": sum(each["duplicates"] for each in submitted),
        "batches": sum(each["batches"] for each in closed),
        "times held": sum(each["held"] for each in closed),
    }


@pytest.mark.parametrize(
    ("requests", "limit"), [(200, 120), pytest.param(10_000, 800, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_nothing_is_lost_or_doubled_when_ten_processes_work_at_once(
    url: str, tmp_path: Path, requests: int, limit: float
) -> None:
    (answers := tmp_path / "answers").mkdir()
    figures = crowd(url, answers, requests, limit)
    assert list(store_crowd.wrong(url, answers, requests)) == []
    print(json.dumps({"database": url.split(":")[0]} | figures))
    assert figures["duplicates"], "the test needs demands that meet"
