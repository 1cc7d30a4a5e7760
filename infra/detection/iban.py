"""International bank account numbers: a country's length and form, and the checksum (ISO 13616, modulo 97)."""

from __future__ import annotations

import re
from collections import defaultdict

from infra.detection.recogniser import Recogniser, from_patterns, patterns
from infra.detection.shapes import BLANK, touching
from infra.detection.windows import reaches
from infra.identifiers.wellformed import IBAN_LENGTHS

LONGEST = 34
# Two letters and two digits, found by the first digit: such an expression is searched fast.
_PROBE = re.compile(
    r"[0-9](?<=[A-Za-z]{2}[0-9])(?:(?<![A-Za-z0-9][A-Za-z]{2}[0-9])|(?<=[Ii][Bb][Aa][Nn][A-Za-z]{2}[0-9]))"
    r"[0-9](?:[ \-\u00a0\u202f]|[ \-]?\r?\n[ \t]{0,8})?[A-Za-z0-9]{2}"
)
_GAP = f"(?:[{BLANK}\\-]|[ \\-]?\\r?\\n[ \\t]{{0,8}})?"
"""Between two characters; an IBAN may be broken over lines."""


def build() -> Recogniser:
    """The recogniser of IBAN_CODE."""
    from presidio_analyzer.predefined_recognizers import IbanRecognizer

    presidio = IbanRecognizer(
        patterns=patterns(("by country", _expression(), 0.5)),
        replacement_pairs=[(gap, "") for gap in "- \t\r\n\u00a0\u202f"],
    )
    return from_patterns("IBAN_CODE", presidio, reaches(_PROBE, 2 * LONGEST, lead=2))


def _expression() -> str:
    countries: dict[int, list[str]] = defaultdict(list)
    for country, length in IBAN_LENGTHS.items():
        countries[length].append(country)
    forms = (
        f"(?:{'|'.join(names)})[0-9]{{2}}(?:{_GAP}[A-Z0-9]){{{length - 4}}}" for length, names in countries.items()
    )
    before = touching("IBAN_CODE", "(?<![A-Za-z0-9])", "[A-Za-z]{2}[0-9]{2}")
    return rf"{before}((?i:{'|'.join(forms)}))(?![A-Za-z0-9])"
