"""What the words before a finding say it is.

The last label before a finding decides, unless another number stands between: that one is what it named. A label of
its own type within `REACH` characters raises the score by `STEP`, to `LEAST` at least: Presidio's factors. Any other
label lowers it by as much, if it stands right before: in "part no. 219-41-5522" the number is called something else,
in "in that case, 219-41-5522" it is not. Labels are the usual names of these things, and any word with "number",
"no." or "id" after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

REACH = 48
STEP = 0.35
LEAST = 0.4

_NUMBER = r"(?:[\s_\-]*(?:numbers?|num|nummer|nº|n°|nos?|nr|#)(?![^\W_]))?"
_END = r"(?![^\W_])"
_SOFTWARE = (
    "android|angular|apache|chrome|chromium|curl|django|docker|dotnet|edge|electron|firefox|gcc|git|glibc|go|gradle|java"
    "|jdk|jre|kubernetes|linux|macos|mariadb|maven|mongodb|mysql|nginx|node|npm|numpy|openjdk|openssh|openssl|opera"
    "|pandas|perl|php|postgres|postgresql|python|pytorch|react|redis|ruby|rust|safari|spring|tensorflow|tomcat|ubuntu"
    "|unity|webkit|windows"
)
"""Programs whose versions have four parts, or are written so."""
_UNSPACED_PHONE = "電話|携帯|电话|手机|전화|휴대"
# The two that are sought at every letter of every word; `_last` leaves them out where they cannot stand.
_PHONE_STEM = r"phone|t[eé]l[eé]f|mobil|m[oó]v[ií]l|cellul|celular|handy|puhelin|whatsapp"
_PHONE_COMPOUND = rf"[^\W\d_]{{0,16}}?(?:{_PHONE_STEM})[^\W\d_]*"
_NUMBERED = r"(?:num|nº|n°|nos?|nr|ids?|code|ref)"
_ANY_NUMBERED = rf"[^\W\d_]{{2,24}}?(?:[\s_\-]*(?:numbers?|nummer|#)|[\s_\-]+{_NUMBERED}){_END}"
_HAS_STEM = re.compile(_PHONE_STEM)
_HAS_NUMBERED = re.compile(rf"number|nummer|#|[\s_\-]{_NUMBERED}{_END}")
_NEVER = r"(?!)"
_WORDS = {
    "US_SSN": rf"(?:ssns?|ssid|itin|tin|soc(?:ial)?[\s._\-]+sec(?:urity)?|taxpayer|ss(?=\s?#)){_NUMBER}",
    "PHONE_NUMBER": (
        rf"(?:{_PHONE_COMPOUND}"
        r"|(?:t[eé]l|tlf|tfno|ph|puh|cell|gsm|fax|sms|call(?:s|ed|ing)?|ring|dial|hotline|voicemail|reach|anruf\w*|appel\w*"
        rf"|llam\w*|chiam\w*|ring\w*|bel){_END}){_NUMBER}"
    ),
    "CREDIT_CARD": (
        r"(?:(?:credit|debit|bank|kredit)?[\s_\-]?(?:cards?|karte\w*|carte|carta|tarjeta|kort\w*|kaart)"
        rf"|visa|mastercard|amex|maestro|discover|jcb|diners|cc|pan){_END}{_NUMBER}"
    ),
    "IBAN_CODE": rf"(?:iban|bank|transaction|konto\w*|compte|cuenta){_END}{_NUMBER}",
    "IP_ADDRESS": rf"(?:ip(?:v[46])?|ip[\s_\-]?addr\w*|hosts?|server|client|subnet|gateway|peer){_END}",
    "URL": rf"(?:urls?|web\s?sites?|links?|homepage){_END}",
    "EMAIL_ADDRESS": rf"e[\-\s]?mails?{_END}",
    "OTHER": (
        rf"(?:{_SOFTWARE})(?=[\s\-]+(?:v\.?\s?)?(?:\d|$))|(?:orders?|invoices?|bill|parts?|items?|serials?|sku|s/n|isbn|issn|doi|ean|upc|gtin|imei|iccid|vin|asin"
        r"|tickets?|cases?|issues?|bugs?|ref(?:erence|erenz|s)?|track\w*|shipments?|parcels?|waybills?|versions?|ver"
        r"|releases?|builds?|firmware|kernel|driver|rev(?:ision)?|patch|zip|postcode|postal|plz|lots?|batch(?:es)?|models?"
        r"|dates?|customers?|clients?|patents?|commits?|hash|checksum|pages?|pp|sections?|chapters?|clauses?|figures?|tables?"
        r"|polic(?:y|ies)|claims?|contracts?|licen[cs]es?|po|pin|codes?|bestell\w*|rechnung\w*|artikel\w*|commande|facture"
        r"|pedido|factura|ordine|fattura|zamówieni\w*|faktur\w*|amount|total|sum|price|timestamp|epoch|uid|pid|port|size"
        rf"|bytes?){_END}"
        rf"|{_ANY_NUMBERED}"
    ),
}


class Labels(NamedTuple):
    """Expressions of all labels, by what the text can hold (see `_last`), and of each type's own."""

    every: Mapping[tuple[bool, bool], re.Pattern[str]]
    own: Mapping[str, re.Pattern[str]]


def labels(more: Mapping[str, Sequence[str]] | None = None) -> Labels:
    """The expression of all labels: the usual ones, and for some types the customer's further words."""
    further = {kind: "".join(rf"|{_of_word(word)}" for word in words) for kind, words in (more or {}).items()}
    all_words = {kind: f"{words}{further.get(kind, '')}" for kind, words in _WORDS.items()}
    kinds = "|".join(f"(?P<{kind}>{words})" for kind, words in all_words.items())
    whole = rf"(?<![^\W_])(?:{kinds})|(?P<UNSPACED>{_UNSPACED_PHONE})|(?P<SIGN>§|#(?=\s*$))"
    every = {}
    for stem, numbered in product((True, False), repeat=2):
        some = whole if stem else whole.replace(_PHONE_COMPOUND, _NEVER)
        every[stem, numbered] = re.compile(some if numbered else some.replace(_ANY_NUMBERED, _NEVER))
    own = {kind: re.compile(rf"(?<![^\W_])(?:{words})") for kind, words in all_words.items()}
    own["PHONE_NUMBER"] = re.compile(rf"{own['PHONE_NUMBER'].pattern}|{_UNSPACED_PHONE}")
    return Labels(every, own)


def _of_word(word: str) -> str:
    escaped = r"\s+".join(re.escape(part) for part in word.lower().split())
    return rf"{escaped}{_END}{_NUMBER}" if word.isascii() else escaped


USUAL = labels()
_KIND = {"UNSPACED": "PHONE_NUMBER", "SIGN": "OTHER"}
_NOTHING_BETWEEN = re.compile(
    r"(?:[^\w,;!?]|_|[,;](?=\S)|(?<![^\W_])(?:numbers?|nos?|nr|num|ids?|is|was|are|code|ref)(?![^\W_]))*"
)
_NUMBER_BETWEEN = re.compile(r"(?<!ipv)\d(?:[\s.\-/]?\d){4}")
NAMES_ITSELF = frozenset({"EMAIL_ADDRESS", "URL", "IBAN_CODE"})
"""Types whose form is proof enough: no label before them lowers their score."""


def adjusted(text: str, start: int, type_: str, score: float, known: Labels = USUAL, least: float = 0.0) -> float:
    """The score (0 to 1) of a finding of this type that begins at `start`, in view of the label before it.

    A score that would stay below `least` may be given back as it is.
    """
    if score >= 1.0 and type_ in NAMES_ITSELF:
        return score
    before = text[start - REACH if start > REACH else 0 : start].lower()
    raised_alone = score < least or type_ in NAMES_ITSELF  # no other label could make a difference
    if raised_alone and not known.own[type_].search(before):
        return score
    stands = bool(_HAS_STEM.search(before)), bool(_HAS_NUMBERED.search(before))
    label = _last(known.every[stands], before)
    if label is None:
        return score
    kind, end = label
    if kind == type_:
        return min(1.0, max(LEAST, score + STEP))
    if type_ in NAMES_ITSELF or (type_ == "IP_ADDRESS" and kind != "OTHER"):
        return score
    called_so = _NOTHING_BETWEEN.fullmatch(before, end)
    return max(0.0, score - STEP) if called_so else score


@lru_cache(maxsize=512)
def _last(known: re.Pattern[str], before: str) -> tuple[str, int] | None:
    """Kind and end of the last label after the last number; several types are often asked about one place."""
    numbers = _NUMBER_BETWEEN.findall(before)
    found = list(known.finditer(before, before.rindex(numbers[-1]) + len(numbers[-1]) if numbers else 0))
    if not found:
        return None
    name = found[-1].lastgroup or ""
    return _KIND.get(name, name), found[-1].end()
