"""E-mail addresses (RFC 5322 dot-atoms of common characters) at a host under a known suffix.

Left out: `=`, `/`, `?` and the like in the local part, which in practice end a key or a path before the address; and
what reads `git@host:path/to` or `user@host:~$`, a place to copy from and a prompt.
"""

from __future__ import annotations

import re

from infra.detection.recogniser import Recogniser, from_patterns, patterns
from infra.detection.shapes import HOST, UNSPACED, WORD, has_known_suffix
from infra.detection.windows import tokens

_PROBE = re.compile(r"@")
_ADDRESS = (
    rf"(?<!{WORD}){WORD}(?:(?![{UNSPACED}])(?:[\w+%'&\-]|\.(?!\.))){{0,62}}(?<![.'&])@{HOST}"
    rf"(?!{WORD}|@|[.\-]+{WORD})(?!:~|:[\w.~\-]*/)"
)


def build() -> Recogniser:
    """The recogniser of EMAIL_ADDRESS."""
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    presidio = EmailRecognizer(patterns=patterns(("address", _ADDRESS, 0.5)))
    presidio.validate_result = _is_address
    return from_patterns("EMAIL_ADDRESS", presidio, tokens(_PROBE))


def _is_address(written: str) -> bool:
    return has_known_suffix(written.rpartition("@")[2])
