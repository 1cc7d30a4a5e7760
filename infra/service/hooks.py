"""The webhook of the MLflow registry: a hint that something changed there. Nothing that it says is read.

MLflow signs what it sends by HMAC-SHA256 (mlflow.webhooks.delivery). A hint asks for runs that would come by
themselves, so what is lost, late or forged can neither move an alias nor keep one where it is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse

from infra.requests.deliveries import Deliveries
from infra.service.api import Body
from infra.service.guard import Rates, client_of
from infra.service.problems import Problem, documented
from infra.service.schemas import example

CALLED_FOR = ("reconcile-registry", "promote-versions")
"""The flows that look at the registry."""
SECONDS = 300
"""How far the time of a delivery may be from now."""
_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_TIME = re.compile(r"[0-9]{1,12}")
_HEADERS = {
    "X-MLflow-Signature": "v1, a comma, and the base64 of HMAC-SHA256 over 'id.time.body' under the secret",
    "X-MLflow-Timestamp": "seconds since 1970, at most 300 from now",
    "X-MLflow-Delivery-Id": "of this delivery; each is taken once",
}

router = APIRouter(prefix="/v1", tags=["service"])


class Taken(BaseModel):
    """A hint was taken; what comes of it is not known yet."""

    model_config = example({"status": "taken"})

    status: Literal["taken"]


def signature(secret: bytes, delivery: str, at: str, body: bytes) -> str:
    """Return what MLflow's header of the signature holds."""
    signed = hmac.new(secret, f"{delivery}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def delivery(request: Request, body: Body) -> str:
    """Return the id of a delivery that MLflow signed just now.

    Raises:
        Problem: No secret is set here, it is not signed with it, or not just now.
    """
    secret: bytes | None = request.app.state.webhook_secret
    if not secret:
        raise Problem("no-webhook")
    rates: Rates = request.app.state.rates
    rates.refuse_guessers(client_of(request.scope))
    given, at, name = (request.headers.get(header, "") for header in _HEADERS)
    readable = _ID.fullmatch(name) and _TIME.fullmatch(at)
    if not (readable and hmac.compare_digest(signature(secret, name, at, body).encode(), given.encode())):
        rates.failed(client_of(request.scope))
        raise Problem("signature")
    if abs(time.time() - int(at)) > SECONDS:
        raise Problem("stale-delivery")
    return name


@router.post(
    "/hooks/mlflow",
    status_code=202,
    response_model=Taken,
    responses=documented("signature", "stale-delivery", "no-webhook", "replayed", "too-large", "media-type"),
    openapi_extra={
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": said}
            for name, said in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object", "description": "is not looked at"}}},
        },
    },
)
def registry_changed(request: Request, name: Annotated[str, Depends(delivery)]) -> Response:
    """Take the hint that the registry changed, from MLflow's webhook: the runs that look at it are asked for."""
    deliveries: Deliveries = request.app.state.deliveries
    if not deliveries.take(name):
        raise Problem("replayed")
    hint: Any = request.app.state.hint
    return JSONResponse({"status": "taken"}, 202, background=BackgroundTask(hint, CALLED_FOR))
