"""How the demo hands its requests in: in a file, and over the service, where an officer verifies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stored_requests import line, open_store

from flows.demo import hand_in
from infra.requests import RequestStore
from revs.errors import OperationFailed


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(line(number) for number in range(4)))
    return path


def submitted(store: RequestStore) -> list[tuple[str, bool]]:
    """The state of each request, and whether it came from a submitter."""
    return sorted((view.status, view.submitted_by is not None) for view in store.list(model="demo"))


def test_one_request_comes_over_the_service_and_is_verified_by_somebody_else(tmp_path: Path, requests: Path) -> None:
    store = open_store(tmp_path)
    assert hand_in(store, requests, "demo") == "3 in a file, 1 over HTTP"
    assert submitted(store) == [*3 * [("received", False)], ("received", True)]
    (came,) = [view for view in store.list(model="demo") if view.submitted_by]
    (verified,) = [event for event in store.events(request_id=came.id) if event.event == "request.verified"]
    assert verified.detail["by"].startswith("demo officer") and came.submitted_by.startswith("demo submitter")


def test_a_demo_that_was_cut_off_before_the_officer_came_goes_on_there(
    tmp_path: Path, requests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)

    def cut_off(*_: Any, **__: Any) -> Any:
        raise OperationFailed("the machine stopped")

    with monkeypatch.context() as until, pytest.raises(Exception, match="503"):
        until.setattr(RequestStore, "verify", cut_off)
        hand_in(store, requests, "demo")
    assert ("unverified", True) in submitted(store)
    hand_in(store, requests, "demo")
    hand_in(store, requests, "demo")
    assert submitted(store) == [*3 * [("received", False)], ("received", True)]
