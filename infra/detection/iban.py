"""International bank account numbers: a country's length and form, and the checksum (ISO 13616, modulo 97)."""

from __future__ import annotations

import re
from collections import defaultdict

from infra.detection.recogniser import Recogniser, from_patterns, patterns
from infra.detection.shapes import BLANK, touching
from infra.detection.windows import reaches

_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 "
    "FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 "
    "RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
)
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
    for entry in _LENGTHS.split():
        countries[int(entry[2:])].append(entry[:2])
    forms = (
        f"(?:{'|'.join(names)})[0-9]{{2}}(?:{_GAP}[A-Z0-9]){{{length - 4}}}" for length, names in countries.items()
    )
    before = touching("IBAN_CODE", "(?<![A-Za-z0-9])")
    return rf"{before}(?=[A-Za-z]{{2}}[0-9]{{2}})((?i:{'|'.join(forms)}))(?![A-Za-z0-9])"
