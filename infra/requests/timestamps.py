"""Timestamps of a third party over ends of the audit log (RFC 3161): a root existed at a time, whoever has the key.

What is stamped is the root as it is printed: 64 hex digits in ASCII, no line end. The whole answer is kept, so that
`openssl ts -verify` reads it as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from infra.requests import heads
from infra.requests.chain import Head
from revs.errors import BadInput, OperationFailed

if TYPE_CHECKING:
    from rfc3161_client import VerifierBuilder

    from infra.settings import Settings

_SECONDS = 15.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Who is asked for timestamps, and the certificates they are checked against; None: they are taken as they come."""

    url: str
    certificate: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Authority | None:
        """Return that of an installation; None where it asks none."""
        if settings.timestamp_url is None:
            return None
        return cls(url=settings.timestamp_url.get_secret_value(), certificate=settings.timestamp_certificate)

    def stamp(self, root: str) -> bytes:
        """Return the authority's answer about a root.

        Raises:
            OperationFailed: It is away, refuses, or its answer is about something else.
            BadInput: The certificate cannot be read.
        """
        import httpx
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, VerificationError, decode_timestamp_response

        verifier = None if self.certificate is None else _trusting(self.certificate).build()
        asked = TimestampRequestBuilder().data(root.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
        sent = {"Content-Type": "application/timestamp-query"}
        try:
            answer = httpx.post(self.url, content=asked.as_bytes(), headers=sent, timeout=_SECONDS)
            answer.raise_for_status()
            found = decode_timestamp_response(answer.content)
            if found.status or found.tst_info.nonce != asked.nonce:
                raise ValueError("another answer")
            if found.tst_info.message_imprint.message != asked.message_imprint.message:
                raise ValueError("another message")
            if verifier is not None:
                verifier.verify_message(found, root.encode())
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # its text shows the address, which may hold a password
            raise OperationFailed(f"the timestamp authority does not answer ({type(error).__name__})") from None
        except (ValueError, VerificationError):
            raise OperationFailed("the timestamp authority gave no timestamp that can be used") from None
        return answer.content


def note(path: Path, head: Head, authority: Authority | None) -> None:
    """Add an end of the log to the file, with a timestamp where an authority is asked and gives one.

    Raises:
        OperationFailed: The file cannot be written.
    """
    if authority is not None and head.root is not None:
        try:
            head = replace(head, timestamp=authority.stamp(head.root))
        except (OperationFailed, BadInput) as error:
            _LOG.warning("the end of the audit log is noted without a timestamp: %s; the next one asks again", error)
    heads.append(path, head)


def problems(noted: Iterable[Head], certificate: Path | None) -> Iterator[str]:
    """Say which timestamps of noted ends are not the authority's about their root; without a certificate nothing.

    Raises:
        BadInput: The certificate cannot be read.
    """
    stamped = [each for each in noted if each.timestamp is not None]
    if certificate is None or not stamped:
        return
    from rfc3161_client import VerificationError, decode_timestamp_response

    verifier = _trusting(certificate).build()
    for each in stamped:
        try:
            verifier.verify_message(decode_timestamp_response(each.timestamp or b""), (each.root or "").encode())
        except (ValueError, VerificationError):
            yield f"the timestamp of the end that was noted after event {each.count} is not the authority's of its root"


def _trusting(certificate: Path) -> VerifierBuilder:
    from cryptography.x509 import load_pem_x509_certificates
    from rfc3161_client import VerifierBuilder

    try:
        found = load_pem_x509_certificates(certificate.read_bytes())
    except OSError as error:
        raise BadInput(
            f"REVS_TIMESTAMP_CERTIFICATE={certificate} cannot be read ({error.strerror}); name the authority's "
            "certificates, as PEM"
        ) from None
    except ValueError:
        raise BadInput(
            f"REVS_TIMESTAMP_CERTIFICATE={certificate} holds no certificate; name the authority's certificates, as PEM"
        ) from None
    return VerifierBuilder(roots=found)
