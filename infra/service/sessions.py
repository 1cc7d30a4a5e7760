"""Sessions of the pages: a signed cookie that names a token, and the secret that each form has to send back.

The cookie holds no token, only its id: who has the cookie can do what the token may, until it expires or is logged out,
or the token is revoked. Nothing of a session is stored; which ones were logged out is kept in memory for as long as
they could be used.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from threading import Lock

from cachetools import TTLCache
from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

SECONDS = 8 * 3600
_MOST_ENDED = 10_000
_NAME = "revs-session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who looks at the pages: the id of a token, or nobody yet."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    token_id: str | None = None
    is_new: bool = True  # its cookie was not sent yet; it is sent once, so that using a session does not prolong it

    def sent(self, csrf: str | None) -> bool:
        """Whether a form sent the secret of this session back."""
        return hmac.compare_digest(self.csrf.encode(), (csrf or "").encode())


class Sessions:
    """Reads and writes the cookies.

    Args:
        key: Signs them; at least 32 random characters.
    """

    def __init__(self, key: str) -> None:
        self._signer = URLSafeTimedSerializer(key, salt="revs service session")
        self._ended: TTLCache[str, bool] = TTLCache(_MOST_ENDED, SECONDS)
        self._lock = Lock()

    def of(self, request: Request) -> Session:
        """Return the session of a call, a new one where it has none that can be used."""
        try:
            found = self._signer.loads(request.cookies.get(_name(request), ""), max_age=SECONDS)
            session = Session(id=found["id"], csrf=found["csrf"], token_id=found["token"], is_new=False)
        except (BadData, KeyError, TypeError):
            return Session()
        with self._lock:
            return Session() if session.id in self._ended else session

    def keep(self, request: Request, response: Response, session: Session) -> None:
        """Send the session's cookie along: for this site and no script, over TLS alone where the call came over it."""
        value = self._signer.dumps({"id": session.id, "csrf": session.csrf, "token": session.token_id})
        secure = request.url.scheme == "https"
        response.set_cookie(
            _name(request), value, max_age=SECONDS, path="/", secure=secure, httponly=True, samesite="strict"
        )

    def end(self, request: Request, response: Response, session: Session) -> None:
        """Log out: the cookie is taken away, and opens nothing even where it was copied."""
        with self._lock:
            self._ended[session.id] = True
        secure = request.url.scheme == "https"
        response.delete_cookie(_name(request), path="/", secure=secure, httponly=True, samesite="strict")


def _name(request: Request) -> str:
    """The cookie's name; the prefix makes browsers refuse it from anywhere but this very host, over TLS."""
    return f"__Host-{_NAME}" if request.url.scheme == "https" else _NAME
