"""One spelling for many: how identifiers and corpus text are brought to a form in which they compare equal.

Two streams are made of a text:

words     Unicode NFKC, case-folded, decimal digits of every script as 0-9, a run of white space as one space, invisible
          characters left out. E-mail addresses, URLs, names, IP addresses and customer-defined strings are sought here.
compact   the words without separators. Social security, phone, card and bank account numbers are sought here, so that
          219-41-5522, 219 41 5522 and 219415522 are one number.

Every folded character remembers where it came from, so a match can always be given in offsets of the original text.
Text is folded cluster by cluster (a character with the marks that compose with it), which makes folding a slice that
begins and ends between clusters the same as slicing the folded text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from infra.identifiers import hosts, phones
from infra.identifiers.ip import address_of
from infra.identifiers.readings import may_be_disguised, undisguised

Stream = Literal["words", "compact"]

DIGIT_TYPES = frozenset({"US_SSN", "PHONE_NUMBER", "CREDIT_CARD"})
COMPACT_TYPES = DIGIT_TYPES | {"IBAN_CODE"}
SEPARATORS = " -./()·" + "".join(map(chr, range(0x2010, 0x2016))) + "\u2212"
MAX_SEPARATORS = 3
"""Most separator characters between two characters of one number, as in "(202) - 555"; more is two numbers."""

_DROP_SEPARATORS = dict.fromkeys(map(ord, SEPARATORS))
_IRREGULAR = re.compile(r"[\x00-\x1f\x7f]|  ")
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_URL_PREFIX = re.compile(r"(?:https?://)?(?:www\.)?")
_HYPHENS = frozenset("\u2010\u2011\u2012\u2212")
"""Read as a hyphen: what a word processor makes of one. Longer dashes part what stands beside them."""
_INVISIBLE = frozenset(map(chr, (0x034F, *range(0xFE00, 0xFE10), *range(0x180B, 0x1810), *range(0xE0100, 0xE01F0))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Folded text; character i of `text` came from `original[starts[i]:ends[i]]`."""

    text: str = field(repr=False)
    starts: Sequence[int] = field(repr=False)
    ends: Sequence[int] = field(repr=False)

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """The original span of `text[start:end]`, or None where an edge falls inside one original character.

        A space in front that carries the first mark of what follows is one character with it, and taken along.
        """
        splits_first = start > 0 and self.starts[start] == self.starts[start - 1] and self.text[start - 1] != " "
        splits_last = end < len(self.text) and self.starts[end] == self.starts[end - 1]
        return None if splits_first or splits_last else (self.starts[start], self.ends[end - 1])


def fold(text: str, *, casefold: bool = True) -> Folded:
    """Fold `text` into the stream of words; with `casefold=False` letters keep their case."""
    if text.isascii() and not _IRREGULAR.search(text):
        same = text.lower() if casefold else text
        return Folded(text=same, starts=range(len(text)), ends=range(1, len(text) + 1))
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    while position < len(text):
        end = _plain_end(text, position)
        if end > position:  # plain characters, one to one
            piece = text[position:end].lower() if casefold else text[position:end]
            starts.extend(range(position, end))
            ends.extend(range(position + 1, end + 1))
        else:
            end = _cluster_end(text, position)
            piece = _fold_cluster(text[position:end], casefold)
            if piece == " " == (pieces[-1] if pieces else ""):  # one more of a run of white space
                ends[-1] = end
                piece = ""
            starts.extend([position] * len(piece))
            ends.extend([end] * len(piece))
        if piece:
            pieces.append(piece)
        position = end
    return Folded(text="".join(pieces), starts=starts, ends=ends)


def compact(text: str) -> str:
    """Folded text without separators."""
    return text.translate(_DROP_SEPARATORS)


def stream_of(type_: str) -> Stream:
    """The stream in which identifiers of this type are sought."""
    return "compact" if type_ in COMPACT_TYPES else "words"


def normal_form(type_: str, value: str) -> str:
    """The form in which two spellings of one identifier of this type are equal; may be empty."""
    return reduced(type_, fold(value).text)


def reduced(type_: str, folded: str) -> str:
    """The normal form of a folded text."""
    if type_ == "PHONE_NUMBER":
        folded = phones.parted(folded)[0]
    if type_ in DIGIT_TYPES:
        return "".join(character for character in folded if character in "0123456789")
    if type_ == "IBAN_CODE":
        return "".join(character for character in folded if character.isalnum())
    if type_ == "URL":
        return _URL_PREFIX.sub("", folded.strip(), count=1).rstrip("/")
    return folded.strip()


def search_forms(type_: str, value: str) -> tuple[str, ...]:
    """Every form under which the identifier is sought, its normal form first.

    A phone number is also sought with and without its country code, a host in letters of its own script and in those of
    ASCII, an IP address in its short spelling.
    """
    normal = normal_form(type_, value)
    if type_ == "PHONE_NUMBER":
        written = phones.forms(fold(value).text)
        return tuple(dict.fromkeys((normal, *(form for form in written if len(form) >= phones.MIN_DIGITS))))
    if type_ == "IP_ADDRESS":  # of version 4; how one of version 6 is written is not known (infra/identifiers/ip.py)
        address = address_of(normal)
        return (normal,) if address is None else tuple(dict.fromkeys((normal, address.compressed)))
    if type_ in {"EMAIL_ADDRESS", "URL"}:
        return tuple(dict.fromkeys((normal, *(normal_form(type_, way) for way in hosts.spellings(type_, value)))))
    return (normal,)


def identity(type_: str, value: str) -> str:
    """The form in which all spellings of one identifier are equal, to tell whether two values name the same.

    As `normal_form`, and a phone number as + and digits where its country is certain, an IP address as an address, a
    host in letters of ASCII, and without escapes. Not what is sought, and not what digests of requests are made of;
    those of what was erased are (`infra.requests.erased`): another form would never match them again.
    """
    value = undisguised(value) if may_be_disguised(value) and type_ != "CUSTOM" else value
    if type_ == "PHONE_NUMBER":
        folded = fold(value).text
        extension = phones.parted(folded)[1]
        return (phones.e164(folded) or normal_form(type_, value)) + (f";ext={extension}" if extension else "")
    if type_ == "IP_ADDRESS":
        return str(address_of(fold(value).text) or normal_form(type_, value))
    if type_ in {"EMAIL_ADDRESS", "URL"}:
        return min(normal_form(type_, way) for way in hosts.spellings(type_, value))
    return normal_form(type_, value)


def same_case(type_: str, value: str, written: str) -> bool:
    """Whether case allows `written` to be the identifier: names as given or in capitals, own strings exactly."""
    if written == value or type_ not in {"PERSON", "CUSTOM"}:
        return True
    given, found = (fold(text, casefold=False).text.strip() for text in (value, written))
    return found == given or (type_ == "PERSON" and found == given.upper())


def _plain_end(text: str, start: int) -> int:
    """The end of the visible ASCII characters and single spaces from `start` on, which fold one to one."""
    plain = _PLAIN.match(text, start)
    if plain is None:
        return start
    end = plain.end()
    # the last of them may be the base of a mark that follows
    return end if end == len(text) or text[end].isascii() else end - 1


def _cluster_end(text: str, start: int) -> int:
    """The end of the characters from `start` on that Unicode normalisation treats together."""
    end = start + 1
    while end < len(text) and not text[end].isascii():
        if not unicodedata.combining(unicodedata.normalize("NFKC", text[end])[0]):
            together = unicodedata.normalize("NFKC", text[start : end + 1])
            apart = unicodedata.normalize("NFKC", text[start:end]) + unicodedata.normalize("NFKC", text[end])
            if together == apart:
                break
        end += 1
    return end


@lru_cache(maxsize=4096)
def _fold_cluster(cluster: str, casefold: bool) -> str:
    normal = unicodedata.normalize("NFKC", cluster)
    return "".join(map(fold_character, normal.casefold() if casefold else normal))


def fold_character(character: str) -> str:
    """What is left of one character after Unicode normalisation and case folding; may be empty."""
    if character.isspace():
        return " "
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if character in _HYPHENS:
        return "-"
    return "" if character in _INVISIBLE or unicodedata.category(character) == "Cf" else character
