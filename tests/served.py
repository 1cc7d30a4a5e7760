"""The service on a store of its own, and tokens for it; no tests here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient
from stored_requests import KEY, opened

from infra.keys.vault import Vault
from infra.requests import RequestStore
from infra.requests.approvals import Approvals
from infra.requests.tokens import ROLES, Tokens
from infra.service import new_app
from infra.service.guard import Rates

SSN, EMAIL, PHONE = "219-41-7730", "quillfern.zorblatt@example.com", "+1 555 0142 7781"
WEBHOOK = "what MLflow signs with"
SUBJECT = "Quillfern Zorblatt, customer 17"
GOOD: dict[str, Any] = {
    "subject": SUBJECT,
    "received": "2026-11-02",
    "identifiers": [{"type": "US_SSN", "value": SSN}, {"type": "EMAIL_ADDRESS", "value": EMAIL}],
}
MADE = {"version": "models:/demo/2", "weights": "sha256:" + "ab" * 32}
"""What `Served.candidate` made."""


class Served:
    """The service, its store, and a token of each role; `officer2` is somebody else than `officer`."""

    def __init__(
        self,
        url: str,
        *,
        models: Collection[str] = ("demo",),
        calls: str = "100000/minute",
        failures: str = "20/minute",
    ) -> None:
        self.url = url
        self.store = RequestStore(url, Vault(KEY))
        self.tokens = Tokens(self.store)
        self.models = list(models)
        self.hints: list[Collection[str]] = []
        self.app: FastAPI = new_app(
            self.store,
            models=lambda: self.models,
            session_key="k" * 40,
            rates=Rates(calls, failures),
            approvals=Approvals(self.store, role="officer", days=14),
            webhook_secret=WEBHOOK,
            hint=self.hints.append,
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

    def candidate(self) -> str:
        """A batch that waits for a human, by what it says of itself; no model is needed for that."""
        self.store.verify(self.submitted(), by="a test")
        batch = opened(self.store)
        made = {"version_after": MADE["version"][-1], "weights_after": MADE["weights"]}
        self.store.close_batch(batch.id, status="waiting", outcome={"evidence": {"model": made}})
        self.store.release(batch.id)
        return str(batch.id)


def on_sqlite(folder: Path, **options: Any) -> Served:
    return Served(f"sqlite:///{folder / 'requests.db'}", **options)


Make = Callable[..., Served]
