"""The webhook of the registry: what MLflow signs is taken, once; what is forged, old or replayed asks for nothing."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from served import WEBHOOK, Served, on_sqlite

PATH = "/v1/hooks/mlflow"
CALLED_FOR = ("reconcile-registry", "promote-versions")


def signed(body: str = '{"entity": "model_version_alias"}', *, at: float = 0, secret: str = WEBHOOK) -> dict[str, Any]:
    """A call as MLflow makes it, so many seconds from now."""
    from mlflow.webhooks.delivery import _generate_hmac_signature

    delivery, moment = str(uuid4()), str(int(time.time() + at))
    headers = {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": moment,
        "X-MLflow-Signature": _generate_hmac_signature(secret, delivery, moment, body),
    }
    return {"content": body.encode(), "headers": headers}


def changed(call: dict[str, Any], **headers: str | None) -> dict[str, Any]:
    """The call with other headers, by the last words of their names; None: without."""
    kept = {name: value for name, value in call["headers"].items() if name.rpartition("-")[2].lower() not in headers}
    named = {"id": "X-MLflow-Delivery-Id", "timestamp": "X-MLflow-Timestamp", "signature": "X-MLflow-Signature"}
    return call | {"headers": kept | {named[name]: value for name, value in headers.items() if value is not None}}


def test_what_mlflow_delivers_is_a_hint_and_its_answer_waits_for_nothing_else(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.entities.webhook import Webhook, WebhookEvent
    from mlflow.webhooks import delivery

    class Session:
        def post(self, url: str, *, data: bytes, headers: dict[str, str], timeout: int) -> Any:
            return served.client().post(PATH, content=data, headers=headers)

    monkeypatch.setattr(delivery, "_validate_webhook_url", lambda _: None)  # which looks the host up
    event = WebhookEvent.from_str("model_version_alias.created")
    hook = Webhook("1", "revs", "https://service.example.com/v1/hooks/mlflow", [event], 0, 0, secret=WEBHOOK)
    payload: Any = {"name": "demo", "alias": "champion", "version": "2"}
    session: Any = Session()
    answer = delivery._send_webhook_request(hook, payload, event, session)
    assert (answer.status_code, answer.json()) == (202, {"status": "taken"})
    assert served.hints == [CALLED_FOR]


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (signed(secret="another"), 401, "signature"),
        (signed() | {"content": b'{"entity": "model_version_tag"}'}, 401, "signature"),
        (changed(signed(), id=str(uuid4())), 401, "signature"),
        (changed(signed(), timestamp=str(int(time.time()) + 1)), 401, "signature"),
        (changed(signed(), signature=None), 401, "signature"),
        (changed(signed(), signature="v1,"), 401, "signature"),
        (changed(signed(), signature="\u00e9".encode().decode("latin-1")), 401, "signature"),
        (changed(signed(), id="x" * 101), 401, "signature"),
        (changed(signed(), timestamp="now"), 401, "signature"),
        (changed(signed(), timestamp="9" * 400), 401, "signature"),
        (signed(at=-3600), 401, "stale-delivery"),
        (signed(at=3600), 401, "stale-delivery"),
        (signed("x" * (1024 * 1024 + 1)), 413, "too-large"),
        (signed() | {"headers": signed()["headers"] | {"Content-Type": "text/plain"}}, 415, "media-type"),
    ],
)
def test_a_delivery_that_cannot_be_relied_on_asks_for_nothing(
    call: dict[str, Any], status: int, code: str, served: Served
) -> None:
    headers = {name: value.encode("latin-1") for name, value in call["headers"].items()}
    answer = served.client().post(PATH, content=call["content"], headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:revs:problem:{code}")
    assert served.hints == []


def test_five_minutes_lie_between_the_clocks_at_most(served: Served) -> None:
    statuses = [served.client().post(PATH, **signed(at=at)).status_code for at in (-310, -290, 290, 320)]
    assert statuses == [401, 202, 202, 401]


def test_a_delivery_is_taken_once_by_all_processes_and_after_a_restart(served: Served, tmp_path: Path) -> None:
    from infra.requests.deliveries import Deliveries

    call = signed()
    assert served.client().post(PATH, **call).status_code == 202
    again = served.client().post(PATH, **call)
    assert (again.status_code, again.json()["type"]) == (409, "urn:revs:problem:replayed")
    other = Deliveries(served.store.__class__(served.url, served.store._vault))
    assert not other.take(call["headers"]["X-MLflow-Delivery-Id"])
    assert served.hints == [CALLED_FOR]


def test_what_was_delivered_long_ago_is_forgotten(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime, timedelta

    from infra.requests import rows
    from infra.requests.deliveries import KEPT, Deliveries

    deliveries = Deliveries(served.store)
    assert deliveries.take("one") and not deliveries.take("one")
    later = datetime.now(UTC) + KEPT + timedelta(minutes=1)
    monkeypatch.setattr(rows, "now", lambda: later)
    assert deliveries.take("one")


def test_without_a_secret_nothing_is_there(served: Served) -> None:
    served.app.state.webhook_secret = None
    answer = served.client().post(PATH, **signed(secret=""))
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:revs:problem:no-webhook")
    assert "REVS_MLFLOW_WEBHOOK_SECRET" in answer.json()["detail"] and served.hints == []


def test_who_guesses_at_signatures_is_turned_away(tmp_path: Path) -> None:
    served = on_sqlite(tmp_path, failures="2/minute")
    forged = [served.client().post(PATH, **signed(secret="guess")).status_code for _ in range(3)]
    assert forged == [401, 401, 429]
    assert served.client().post(PATH, **signed()).status_code == 429
    served.store.close()


def test_no_name_of_the_payload_is_answered_or_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    body = json.dumps({"data": {"name": "quillfern", "alias": "champion"}})
    for call in (signed(body), signed(body, secret="another"), signed(body, at=-400)):
        assert "quillfern" not in served.client().post(PATH, **call).text
    assert not [record for record in caplog.records if "quillfern" in record.getMessage()]


def test_hints_that_come_together_ask_for_one_run_that_begins_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    from flows.cli.service import _hints
    from infra.running.deployment import next_look

    asked: list[Any] = []
    monkeypatch.setattr("infra.running.deployment.ask_for_run", lambda name, at: asked.append((name, at)))
    moment = datetime(2026, 11, 30, 12, 0, 1, tzinfo=UTC)
    monkeypatch.setattr("infra.running.deployment.next_look", lambda _: next_look(moment))
    hint = _hints()
    for _ in range(20):
        hint(CALLED_FOR)
    assert asked == [(name, datetime(2026, 11, 30, 12, 0, 15, tzinfo=UTC)) for name in CALLED_FOR]


def test_without_a_prefect_server_the_log_says_that_the_schedule_does_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from datetime import UTC, datetime

    from prefect.settings import PREFECT_API_URL, temporary_settings

    from infra.running.deployment import ask_for_run

    caplog.set_level(logging.INFO, logger="revs.service.hints")
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        ask_for_run("promote-versions", datetime.now(UTC))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        ask_for_run("promote-versions", datetime.now(UTC))
    said = [record.getMessage() for record in caplog.records if record.name == "revs.service.hints"]
    assert len(said) == 2 and all("the next comes by its schedule" in each for each in said)
