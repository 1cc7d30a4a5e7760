"""US social security and taxpayer numbers: three, two and four digits with one separator, or nine digits with a label.

Areas that the Social Security Administration never issues are left out by Presidio's own check (000, 666, group 00,
serial 0000, published samples). 900 to 999 are kept: taxpayer numbers (ITIN) begin so.
"""

from __future__ import annotations

from infra.detection.recogniser import Recogniser, from_patterns, patterns
from infra.detection.shapes import BLANK, DASH, WORD, touching
from infra.detection.windows import runs

_BEFORE = touching("US_SSN", rf"(?<!{WORD})(?<![^\W_][.\-/+])(?<![$€£+])", "[0-9]")
_AFTER = rf"(?!{WORD})(?![.\-/][^\W_])"
_FORMS = (
    ("separated", rf"{_BEFORE}[0-9]{{3}}([{DASH}.])[0-9]{{2}}\1[0-9]{{4}}{_AFTER}", 0.5),
    ("spaced", rf"{_BEFORE}(?<!\d[{BLANK}])[0-9]{{3}}([{BLANK}])[0-9]{{2}}\1[0-9]{{4}}{_AFTER}(?![{BLANK}]\d)", 0.5),
    ("half separated", rf"{_BEFORE}(?:[0-9]{{5}}-[0-9]{{4}}|[0-9]{{3}}-[0-9]{{6}}){_AFTER}", 0.05),
    ("bare", rf"{_BEFORE}[0-9]{{9}}{_AFTER}", 0.05),
)
_SHAPE = rf"(?<!\d)[0-9]{{3}}[{BLANK}{DASH}.]?[0-9]{{2}}[{BLANK}{DASH}.]?[0-9]{{4}}(?!\d)"


def build() -> Recogniser:
    """The recogniser of US_SSN."""
    from presidio_analyzer.predefined_recognizers import UsSsnRecognizer

    presidio = UsSsnRecognizer(patterns=patterns(*_FORMS))
    return from_patterns("US_SSN", presidio, runs(_SHAPE))
