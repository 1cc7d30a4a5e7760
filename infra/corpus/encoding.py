"""What the first bytes of a file say it is: text, in which encoding, a gzip file, or something that is not read.

An encoding is believed where a byte order mark names it, and without a mark where NUL bytes show it beyond doubt. What
is neither that nor plausible UTF-8 is refused by name: text that is read in a wrong encoding looks clean.
"""

from __future__ import annotations

import codecs
import unicodedata
from typing import NamedTuple

from infra.corpus.shard import Unusable

HEAD = 1 << 14
"""Bytes that are looked at."""
GZIP = "gzip"
UTF8 = "utf-8"
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",  # begins as UTF-16 does, so it is asked first
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: UTF8,
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
WIDTHS = {UTF8: 1, "utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
"""Bytes of a code unit."""
_MANY = 16
"""One character in so many that no text holds, or more, and it is no text."""
_WHITE_SPACE = b"\t\n\v\f\r\x1b\x85"
_CONTROLS = bytes(byte for byte in (*range(32), 127) if byte not in _WHITE_SPACE)
_PRINTABLE = bytes(range(32, 127)) + b"\t\n\r"


class _Signature(NamedTuple):
    """How files of one kind begin; `certain`: no text begins so, and elsewhere the rest must look binary too."""

    begins: bytes
    name: str
    at: int = 0
    certain: bool = False


_SIGNATURES = (
    _Signature(b"PK\x03\x04", "a ZIP archive (such as .zip, .docx, .xlsx)", certain=True),
    _Signature(b"PK\x05\x06", "an empty ZIP archive", certain=True),
    _Signature(b"PK\x07\x08", "a ZIP archive in parts", certain=True),
    _Signature(b"7z\xbc\xaf\x27\x1c", "a 7z archive", certain=True),
    _Signature(b"Rar!\x1a\x07", "a RAR archive", certain=True),
    _Signature(b"\xfd7zXZ\x00", "an xz file", certain=True),
    _Signature(b"BZh", "a bzip2 file"),
    _Signature(b"\x28\xb5\x2f\xfd", "a Zstandard file", certain=True),
    _Signature(b"\x04\x22\x4d\x18", "an LZ4 file", certain=True),
    _Signature(b"\x1f\x9d", "a compress file (.Z)", certain=True),
    _Signature(b"LZIP", "an lzip file"),
    _Signature(b"ustar", "a tar archive", at=257),
    _Signature(b"%PDF-", "a PDF document", certain=True),
    _Signature(b"{\\rtf", "an RTF document", certain=True),
    _Signature(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document (such as .doc, .xls)", certain=True),
    _Signature(b"SQLite format 3\x00", "an SQLite database", certain=True),
    _Signature(b"PAR1", "a Parquet file under another name"),
    _Signature(b"ARROW1", "an Arrow file"),
    _Signature(b"ORC", "an ORC file"),
    _Signature(b"Obj\x01", "an Avro file", certain=True),
    _Signature(b"\x89HDF\r\n\x1a\n", "an HDF5 file", certain=True),
    _Signature(b"\x93NUMPY", "a NumPy file", certain=True),
    *(_Signature(b"\x80" + bytes([number]), "a Python pickle", certain=True) for number in range(2, 6)),
    _Signature(b"version https://git-lfs.github.com/spec/", "a pointer to a file in Git LFS", certain=True),
    _Signature(b"+/v8", "UTF-7 text", certain=True),
    _Signature(b"+/v9", "UTF-7 text", certain=True),
)


def form_of(head: bytes, size: int) -> str:
    """The encoding of a file's text, a key of `WIDTHS`, or `GZIP`.

    Args:
        head: its first bytes, at most `HEAD`.
        size: of the file, for the message.

    Raises:
        Unusable: it is nothing that can be read as text; the reason names what it is, or that nobody knows.
    """
    if head.startswith(b"\x1f\x8b"):
        return GZIP
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if marked not in (None, UTF8) and _is_text(head, str(marked), errors="replace"):
        return str(marked)
    controls, is_utf8 = len(head) - len(head.translate(None, _CONTROLS)), _decoded(head, UTF8) is not None
    binary = not _few(controls, len(head)) and (b"\x00" in head or not is_utf8)
    for kind in _SIGNATURES:
        if head.startswith(kind.begins, kind.at) and (kind.certain or binary or not is_utf8):
            raise Unusable(f"{kind.name}, {size:,} bytes, not text")
    if marked is None and b"\x00" in head and (binary or not is_utf8) and (wide := _unmarked(head)):
        return wide
    if binary or marked not in (None, UTF8) or _ends_lines_wide(head):
        raise Unusable(f"binary data, or text in an encoding that it does not tell, {size:,} bytes")
    return UTF8


def _unmarked(head: bytes) -> str | None:
    """The encoding that NUL bytes in one place of every unit show; None where they leave a doubt."""
    for name in ("utf-32-le", "utf-32-be"):
        if _is_text(head, name):
            return name
    pairs = list(zip(head[::2], head[1::2], strict=False))
    ascii_ = {
        "utf-16-le": sum(high == 0 and low in _PRINTABLE for low, high in pairs),
        "utf-16-be": sum(high == 0 and low in _PRINTABLE for high, low in pairs),
    }
    eight_bit = sum(one in _PRINTABLE and other in _PRINTABLE for one, other in pairs)
    name, other = sorted(ascii_, key=lambda name: -ascii_[name])
    clear = ascii_[name] > max(eight_bit, _MANY * ascii_[other])
    return name if clear and _is_text(head, name) else None


def _ends_lines_wide(head: bytes) -> bool:
    """Whether every line end is one of UTF-16, whatever stands between: by chance all of it may be ASCII."""
    ends = head.count(b"\n")
    wide = (sum(head[at : at + 2] == end for at in range(0, len(head), 2)) for end in (b"\n\0", b"\0\n"))
    return b"\0" in head and ends > 0 and ends in wide


def _is_text(head: bytes, encoding: str, *, errors: str = "strict") -> bool:
    """Whether it decodes to characters that texts are made of."""
    text = _decoded(head, encoding, errors)
    if text is None:
        return False
    odd = sum(c == "\ufffd" or unicodedata.category(c) in ("Cc", "Cn", "Co") for c in text if not " " <= c < "\x7f")
    white = sum(map(text.count, _WHITE_SPACE.decode("latin-1")))
    return _few(odd - white, len(text))


def _decoded(head: bytes, encoding: str, errors: str = "strict") -> str | None:
    """The text, up to what is cut off at its end; None where it does not decode."""
    try:
        return codecs.getincrementaldecoder(encoding)(errors).decode(head)
    except UnicodeDecodeError:
        return None


def _few(odd: int, of: int) -> bool:
    return _MANY * odd <= of
