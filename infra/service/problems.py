"""What goes wrong, as RFC 9457 tells it: a code, a title, and one line with the remedy. Never what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:revs:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: its HTTP status, its title, and the line where nothing more is known."""

    status: int
    title: str
    detail: str


KINDS: dict[str, Kind] = {
    "not-json": Kind(400, "Not JSON", "the body is not JSON in UTF-8 without repeated fields; send a JSON object"),
    "bad-form": Kind(400, "Not a form", "the form could not be read; open the page again and send it from there"),
    "no-token": Kind(
        401, "No usable token", "send 'Authorization: Bearer revs_…' with a token that is neither revoked nor expired"
    ),
    "signature": Kind(
        401,
        "Not signed so",
        "the delivery is not signed with the secret that is set here; give both sides the same one",
    ),
    "stale-delivery": Kind(
        401, "Not of now", "the delivery was signed more than 5 minutes from now; set the clocks of both sides"
    ),
    "role": Kind(403, "Not with this role", "the role of this token does not allow it; use a token of another role"),
    "own-request": Kind(403, "Own request", "who submitted a request may not verify it; somebody else's token has to"),
    "stale-form": Kind(403, "Form out of date", "the form is not of this session; open the page again, send it anew"),
    "unknown-request": Kind(404, "No such request", "this token sees no request with this id; look it up in the list"),
    "unknown-batch": Kind(404, "No such batch", "there is no batch with this id; look it up in the list"),
    "no-webhook": Kind(
        404, "No webhook here", "this service takes no webhooks; its operator has to set REVS_MLFLOW_WEBHOOK_SECRET"
    ),
    "unknown-path": Kind(404, "No such page", "nothing is at this address; /v1/openapi.json names what there is"),
    "method": Kind(405, "Method not allowed", "this address takes other methods; /v1/openapi.json names them"),
    "state": Kind(409, "Not in this state", "the request is not in a state that allows it; read it again"),
    "replayed": Kind(409, "Delivered before", "a delivery with this id was taken before; send each once"),
    "nobody-approves": Kind(
        409,
        "Nobody approves here",
        "no role approves over the service; its operator has to set REVS_APPROVER_ROLE, or to run 'revs promote'",
    ),
    "not-approvable": Kind(
        409, "Not to be approved", "the candidate is another one, or waits no longer; read the list again"
    ),
    "too-large": Kind(413, "Too large", "the body is larger than 1 MiB; send fewer requests at once"),
    "media-type": Kind(415, "Wrong media type", "send the body as application/json"),
    "invalid": Kind(422, "Not valid", "the body is not as documented; mend the places that 'errors' names"),
    "no-model": Kind(409, "No model", "no model is registered yet; register one, then submit again"),
    "another-body": Kind(
        422, "Key used before", "this Idempotency-Key was sent with another body; use a new key for a new submission"
    ),
    "too-many": Kind(429, "Too many calls", "too many calls from this address; wait the seconds of Retry-After"),
    "fault": Kind(500, "Fault in the service", "the service failed, and its log names the fault; try again"),
    "other-key": Kind(
        503,
        "Deployment key changed",
        "this process has another deployment key than what is stored and can store nothing; start it again, and send "
        "calls to another process until then",
    ),
    "unavailable": Kind(503, "Store not available", "the request store cannot be used now; try again later"),
}


class Problem(Exception):
    """Ends a call with a problem document.

    Args:
        code: A key of `KINDS`.
        detail: One line with the remedy; None: the kind's own.
        errors: Places in the body, each with a JSON pointer and a sentence.
        headers: Of the response.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code, self.kind = code, KINDS[code]
        self.detail = " ".join((detail or self.kind.detail).split())
        self.errors, self.headers = tuple(errors), dict(headers or {})
        super().__init__(self.detail)

    @property
    def document(self) -> dict[str, Any]:
        """The problem as RFC 9457 writes it."""
        document: dict[str, Any] = {
            "type": _TYPE + self.code,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        return document

    def response(self) -> JSONResponse:
        """The problem as a response."""
        return JSONResponse(self.document, self.kind.status, headers=self.headers, media_type=MEDIA_TYPE)


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a call may end in, for the OpenAPI document: one entry a status, an example each."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, "too-many", "fault", "unavailable"):
        problem = Problem(code)
        entry = found.setdefault(
            problem.kind.status,
            {
                "description": problem.kind.title,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}, "examples": {}}},
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][code] = {"value": problem.document}
    return found
