"""Payment card numbers: the Luhn checksum, a brand's prefix and length, and that brand's grouping (ISO/IEC 7812)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.detection.recogniser import Recogniser, from_patterns, patterns
from infra.detection.shapes import BLANK, DASH, WORD, digits_of, touching
from infra.detection.windows import Window, reaches, runs

_BEFORE = touching("CREDIT_CARD", rf"(?<!{WORD})(?<![^\W_][.{DASH}/])", "[0-9]")
_AFTER = rf"(?!{WORD})(?![.{DASH}/][^\W_])"
_GAP = f"([{BLANK}{DASH}])"
_OVER = r"[ \-]?\r?\n[ \t]{0,8}"
_FORMS = (
    ("bare", r"[0-9]{12,19}"),
    ("4-4-4-4", rf"[0-9]{{4}}{_GAP}[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}"),
    ("4-4-4-4-3", rf"[0-9]{{4}}{_GAP}[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{3}}"),
    ("4-6-5", rf"[0-9]{{4}}{_GAP}[0-9]{{6}}\1[0-9]{{4,5}}"),
    ("over lines, 4/4-4-4", rf"[0-9]{{4}}{_OVER}[0-9]{{4}}{_GAP}[0-9]{{4}}\1[0-9]{{4}}"),
    ("over lines, 4-4/4-4", rf"[0-9]{{4}}{_GAP}[0-9]{{4}}{_OVER}[0-9]{{4}}\1[0-9]{{4}}"),
    ("over lines, 4-4-4/4", rf"[0-9]{{4}}{_GAP}[0-9]{{4}}\1[0-9]{{4}}{_OVER}[0-9]{{4}}"),
    ("over lines, 4/6-5", rf"[0-9]{{4}}{_OVER}[0-9]{{6}}{_GAP}[0-9]{{4,5}}"),
    ("over lines, 4-6/5", rf"[0-9]{{4}}{_GAP}[0-9]{{6}}{_OVER}[0-9]{{4,5}}"),
)
_SHAPE = rf"(?<!\d)[0-9]{{4}}[{BLANK}{DASH}]?[0-9]{{4}}(?:[{BLANK}{DASH}]?[0-9]){{4}}"
_IN_ONE_LINE = runs(_SHAPE)
_OVER_LINES = reaches(
    re.compile(r"\n(?=[ \t]{0,8}[0-9]{4})(?:(?<=[0-9]\n)|(?<=[0-9].\n)|(?<=[0-9].\r\n))"), 48, lead=22
)
_BRANDS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[68][0-9]|9[0-9])[0-9]{11}"  # Diners Club
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2}|60[0-9]{2}|81[0-9]{2})[0-9]{12}(?:[0-9]{3})?"  # Discover, UnionPay
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}(?:[0-9]{3})?"  # JCB
    r"|(?:50[0-9]{2}|5[6-8][0-9]{2}|63[0-9]{2}|67[0-9]{2})[0-9]{8,15}"  # Maestro
)


def build() -> Recogniser:
    """The recogniser of CREDIT_CARD."""
    from presidio_analyzer.predefined_recognizers import CreditCardRecognizer

    forms = patterns(*((name, f"{_BEFORE}{form}{_AFTER}", 0.5) for name, form in _FORMS))
    presidio = CreditCardRecognizer(patterns=forms)
    luhn = presidio.validate_result

    def is_card(written: str) -> bool | None:
        digits = digits_of(written)
        if not (_BRANDS.fullmatch(digits) and luhn(digits)):
            return False
        return True if digits != written else None  # one bare number in thirty of this length passes by chance

    presidio.validate_result = is_card
    over_lines = {name: "\n" for name, _ in _FORMS if name.startswith("over")}
    return from_patterns("CREDIT_CARD", presidio, _windows, over_lines)


def _windows(text: str) -> Iterator[Window]:
    yield from _IN_ONE_LINE(text)
    yield from _OVER_LINES(text)
