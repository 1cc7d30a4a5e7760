"""Runs of flows on a real Prefect server, and what they left there; no tests here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def run(work: Callable[[], Any], model: str = "demo") -> tuple[Any, Any]:
    """Run `work` in a flow; returns the final state and the run's id."""
    from prefect import flow

    state = flow(name="work", persist_result=False)(work)(return_state=True)
    return state, state.state_details.flow_run_id


def eventually(look: Callable[[], Any], good: Callable[[Any], Any], *, seconds: float = 30) -> Any:
    """What `look` finds once it is good; the last it found when the time is up."""
    import time

    deadline = time.monotonic() + seconds
    while not good(found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)  # between two looks at another process
    return found


def artifacts(client: Any, run_id: Any) -> dict[str, Any]:
    """The artifacts of a run by their keys."""
    body = {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}}, "sort": "KEY_ASC"}
    return {each["key"]: each for each in client.request("POST", "/artifacts/filter", json=body).json()}


def log_of(client: Any, run_id: Any, holding: str) -> str:
    """What a run logged, once it holds the text."""
    body = {"logs": {"flow_run_id": {"any_": [str(run_id)]}}}

    def read() -> str:
        return "\n".join(each["message"] for each in client.request("POST", "/logs/filter", json=body).json())

    return eventually(read, lambda text: holding in text)
