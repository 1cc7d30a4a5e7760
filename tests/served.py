"""The service on a store of its own, tokens for it, and what the store's life cycle does until it does it itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy.orm import Session
from starlette.testclient import TestClient
from stored_requests import KEY

from infra.keys.vault import Vault
from infra.requests import Intake, RequestStore, rows
from infra.requests.tokens import ROLES, Tokens
from infra.service import new_app
from infra.service.guard import Rates
from revs.errors import BadInput

SSN, EMAIL, PHONE = "219-41-7730", "quillfern.zorblatt@example.com", "+1 555 0142 7781"
SUBJECT = "Quillfern Zorblatt, customer 17"
GOOD: dict[str, Any] = {
    "subject": SUBJECT,
    "received": "2026-11-02",
    "identifiers": [{"type": "US_SSN", "value": SSN}, {"type": "EMAIL_ADDRESS", "value": EMAIL}],
}


class LivingStore(RequestStore):
    """A store with the life cycle of requests that come in over the service."""

    def add(  # type: ignore[override]
        self,
        request: dict[str, Any],
        *,
        model: str,
        by: str = "",
        verified: bool = True,
        models: Collection[str] | None = None,
        generation: str = "",
    ) -> Intake:
        line = json.dumps(request, sort_keys=True).encode()
        before = {view.id for view in self.list()}
        intake = self._submit(line, name="request.jsonl", model=model, generation=generation, models=models)
        for request_id in set(intake.accepted) - before:
            self._move(request_id, {"received"}, "received" if verified else "unverified", by)
        return intake

    def events(self, batch_id: str | None = None, request_id: str | None = None) -> Any:
        found = super().events(batch_id, request_id)
        first = next((e for e in found if e.event in {"request.unverified", "request.received"} and "by" in e.detail), None)
        return found if first is None or request_id is None else [first, *(e for e in found[1:] if e is not first)]

    def verify(self, request_id: str, *, by: str) -> None:
        self._move(request_id, {"unverified"}, "received", by, "verified")

    def withdraw(self, request_id: str, *, by: str) -> None:
        self._move(request_id, {"unverified", "received", "on_hold", "failed"}, "withdrawn", by, closes=True)

    def put_on_hold(self, request_id: str, *, ground: str, by: str) -> None:
        self._move(request_id, {"unverified", "received", "failed"}, "on_hold", by)

    def release_hold(self, request_id: str, *, by: str) -> None:
        self._move(request_id, {"on_hold"}, "received", by, "released")

    def acknowledge(self, request_id: str, *, by: str) -> None:
        self._move(request_id, {"unverified", "received", "failed", "on_hold"}, None, by, "acknowledged")

    def extend(self, request_id: str, *, reason: str, by: str) -> None:
        self._move(request_id, {"unverified", "received", "failed", "on_hold"}, None, by, "extended")

    def _move(
        self, request_id: str, start: set[str], to: Any, by: str, event: str | None = None, *, closes: bool = False
    ) -> None:
        def work(session: Session) -> None:
            row = rows.request_row(session, request_id)
            if row.status not in start:
                raise BadInput(f"request {request_id} is {row.status}; only one that is {' or '.join(sorted(start))} can be moved")
            row.status = to or row.status
            row.closed_at = rows.now() if closes else row.closed_at
            rows.log(session, f"request.{event or row.status}", request_id=request_id, detail={"by": by})

        self._database.write(work)


class Served:
    """The service, its store, and a token of each role; `officer2` is somebody else than `officer`."""

    def __init__(self, url: str, *, models: Collection[str] = ("demo",), calls: str = "100000/minute") -> None:
        self.store = LivingStore(url, Vault(KEY))
        self.tokens = Tokens(self.store)
        self.models = list(models)
        self.app: FastAPI = new_app(
            self.store, models=lambda: self.models, session_key="k" * 40, rates=Rates(calls, "20/minute")
        )
        self.secret = {role: self.tokens.add(role=role, name=f"the {role}", by="a test")[1] for role in ROLES}
        self.secret["officer2"] = self.tokens.add(role="officer", name="the other officer", by="a test")[1]

    def client(self, role: str | None = None) -> TestClient:
        headers = {"Authorization": f"Bearer {self.secret[role]}"} if role else {}
        return TestClient(self.app, headers=headers, follow_redirects=False)

    def submitted(self, role: str = "submitter", **changes: Any) -> str:
        answer = self.client(role).post("/v1/requests", json=GOOD | changes)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["requests"][0]["id"])


def on_sqlite(folder: Path, **options: Any) -> Served:
    return Served(f"sqlite:///{folder / 'requests.db'}", **options)


Make = Callable[..., Served]
