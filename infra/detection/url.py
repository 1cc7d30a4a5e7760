"""URLs: with a scheme, with `www.`, or a bare host under a public suffix that reads as neither a file nor a call.

The path holds the characters of RFC 3986 and ends with none of the punctuation that ends a sentence around it.
"""

from __future__ import annotations

import re

from infra.detection.recogniser import Recogniser, from_patterns, patterns
from infra.detection.shapes import HOST, LABEL, has_known_suffix, has_public_suffix, touching
from infra.detection.windows import tokens

_PROBE = re.compile(r"\.(?<=\w\.)(?:[^\W\d_]{2}|xn--)|://")  # literals first: such an expression is searched fast
_BRACKETS = r"\([^\s()<>\"']{0,64}\)"
_PORT = r"(?::\d{1,5}(?!\d))?"
_BEFORE_NAME = r"(?<![\w@.\-/\\$])"


def _path(without: str) -> str:
    """What may follow the host, without one of the delimiters."""
    inside = "-A-Za-z0-9._~:/?#@!$&*+,;=%".replace(without or " ", "")
    quote = r"(?<=\w)'(?=\w)"
    body = rf"(?:[{inside}]|{quote}|{_BRACKETS})*(?:[-A-Za-z0-9_~/#@$&+=%]|{_BRACKETS})"
    return rf"(?:[/?#]{body}|/)?"


def _delimited(form: str) -> str:
    """What opens after a delimiter closes before it: in `a,https://example.com/b,c` the comma parts cells."""
    inside = (rf"(?<={delimiter})(?:{form}{_path(delimiter)})" for delimiter in ",;")
    return rf"(?:{'|'.join(inside)}|(?<![,;])(?:{form}{_path('')}))"


_BEFORE_SCHEME = touching("URL", r"(?<![^\W_])", "https?:|ftps?:")
_SCHEME = _delimited(rf"{_BEFORE_SCHEME}(?:https?|ftps?)://(?:[\w.~\-]{{1,64}}(?::[^\s@/]{{0,64}})?@)?{HOST}{_PORT}")
_WWW = _delimited(rf"{_BEFORE_NAME}www\.{HOST}{_PORT}")
# No path before it, no address, no longer name and no call after it.
_BARE = _delimited(rf"{_BEFORE_NAME}(?<!\w[:+]){HOST}(?!{LABEL}|[_@(\[\\]|[.\-][^\W_]){_PORT}")

FILE_ENDINGS = frozenset(
    (
        "ai",
        "app",
        "bz",
        "cab",
        "cc",
        "cfg",
        "cs",
        "data",
        "db",
        "dev",
        "doc",
        "docs",
        "download",
        "dot",
        "go",
        "java",
        "js",
        "log",
        "mov",
        "md",
        "me",
        "mm",
        "ms",
        "name",
        "pl",
        "pm",
        "ps",
        "py",
        "rs",
        "sc",
        "sh",
        "so",
        "sql",
        "st",
        "swift",
        "tf",
        "tm",
        "ts",
        "vi",
        "zip",
    )
)
"""Top-level names that are better known as the ends of file names, modules or attributes."""
BASE_NAMES = frozenset({"makefile", "requirements", "configure", "manifest", "dockerfile", "changelog", "readme"})
"""First halves of file names that are followed by almost anything."""
OBJECTS = frozenset(
    (
        "self",
        "this",
        "cls",
        "super",
        "args",
        "kwargs",
        "config",
        "console",
        "ctx",
        "document",
        "e",
        "event",
        "log",
        "logger",
        "logging",
        "np",
        "obj",
        "os",
        "params",
        "pd",
        "props",
        "req",
        "request",
        "res",
        "response",
        "result",
        "session",
        "state",
        "sys",
        "tf",
        "torch",
        "user",
        "window",
    )
)
"""Names of objects and modules in programs: what follows is an attribute."""
REVERSED = frozenset({"com", "org", "net", "edu", "gov", "io", "java", "javax", "android"})
"""A package of a program is named by its host in reverse."""
_AUTHORITY = re.compile(r"(?:(\w+)://)?(?:[^/?#@\s]*@)?([^/?#:\s]+)(.*)", re.DOTALL)


def build() -> Recogniser:
    """The recogniser of URL."""
    from presidio_analyzer.predefined_recognizers import UrlRecognizer

    forms = patterns(("with scheme", _SCHEME, 0.6), ("with www", _WWW, 0.5), ("bare", _BARE, 0.5))
    presidio = UrlRecognizer(patterns=forms)
    presidio.invalidate_result = _is_no_url
    return from_patterns("URL", presidio, tokens(_PROBE), {"with scheme": "://", "with www": "www."})


def _is_no_url(written: str) -> bool:
    found = _AUTHORITY.fullmatch(written)
    if found is None:
        return True
    scheme, host, tail = found.groups()
    if scheme or host.lower().startswith("www."):
        return not (has_known_suffix(host) or bool(scheme and _is_address(host)))
    return not has_public_suffix(host) or (not tail.startswith(("/", ":")) and _reads_as_a_name(host))


def _reads_as_a_name(host: str) -> bool:
    """`setup.py`, `end.So`, `self.id`, `com.example.app`, `m.in`: a file, two sentences, a program, an abbreviation."""
    name, _, ending = host.rpartition(".")
    first = host.partition(".")[0].lower()
    glued = ending != ending.lower() and host != host.upper()
    file = "." not in name and (ending.lower() in FILE_ENDINGS or first in BASE_NAMES)
    abbreviation = len(name) == 1 and len(ending) == 2
    return glued or file or abbreviation or first in OBJECTS or first in REVERSED


def _is_address(host: str) -> bool:
    return bool(re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", host))
