"""English that every installation carries: paragraphs from the docstrings of installed packages.

The sources are read as text and parsed, never imported; the result depends only on the files, in sorted order.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

# torch is large and always here; the standard library and the others add variety.
PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "pandas",
    "sklearn",
    "datasets",
    "asyncio",
    "email",
    "http",
    "unittest",
    "logging",
)
_WORD = re.compile(r"[A-Za-z]{2,}")


def paragraphs(*, limit: int, min_chars: int = 80, max_chars: int = 400) -> list[str]:
    """Up to `limit` distinct prose paragraphs of `min_chars` to `max_chars` characters, spread over the packages.

    Paragraphs that look like code, tables or signatures are left out: at least 70% of the characters are letters and
    spaces, and an e-mail address or a long digit run excludes the paragraph, since ordinary text must hold no
    identifiers.
    """
    streams = [_package_paragraphs(name, min_chars, max_chars) for name in PACKAGES]
    found: dict[str, None] = {}
    while streams and len(found) < limit:
        for stream in list(streams):
            paragraph = next(stream, None)
            if paragraph is None:
                streams.remove(stream)
            else:
                found.setdefault(paragraph)
    return list(found)[:limit]


def _package_paragraphs(name: str, min_chars: int, max_chars: int) -> Iterator[str]:
    spec = importlib.util.find_spec(name)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).rglob("*.py")):
            for docstring in _docstrings(path):
                for block in re.split(r"\n\s*\n", docstring):
                    text = " ".join(block.split())
                    if min_chars <= len(text) <= max_chars and _is_prose(text):
                        yield text


def _docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # invalid escapes in other people's sources
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return  # a file that is no Python text of this version has no docstrings for us
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield inspect.cleandoc(docstring)


def _is_prose(text: str) -> bool:
    letters = sum(c.isalpha() or c == " " for c in text)
    return (
        letters >= 0.85 * len(text)
        and "@" not in text
        and ">>>" not in text
        and not re.search(r"\d{5,}|://", text)
        and len(_WORD.findall(text)) >= 12
        and text[0].isupper()
        and text[-1] in ".:!?)"
    )
