"""How a value is shown: rounded for the eye, exact in the title attribute, and never rounded into a better result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeGuard

NOT_MEASURED = "not measured"
NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A shown value. `full` is the exact one where `text` is shortened; `missing` marks a gap."""

    text: str
    full: str = ""
    missing: bool = False


def gap(was: str | None = None) -> Figure:
    """A value that is not there; `was` says what stood in its place (NaN, infinity)."""
    return Figure(text=f"no value ({was})" if was else NOT_MEASURED, missing=True)


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def percent(value: float) -> Figure:
    """A percentage from 0 to 100. What is nearly 0 or nearly 100 is not shown as 0 or 100."""
    if 0 < value < 0.05:
        text = "< 0.1%"
    elif 99.95 <= value < 100:
        text = "> 99.9%"
    else:
        text = f"{value:.1f}%"
    return Figure(text=text, full=repr(value))


def signed(value: float, decimals: int = 1) -> Figure:
    """A distance, with its sign. What is nearly 0 is not shown as 0."""
    text, least = f"{value:+.{decimals}f}", 10**-decimals
    if value == 0:
        text = f"{0:.{decimals}f}"
    elif abs(value) < least / 2:
        text = f"under ±{least:g}"
    return Figure(text=text, full=repr(value))


def plain(value: float, decimals: int) -> Figure:
    return Figure(text=f"{value:,.{decimals}f}", full=repr(value))


def exact(value: float) -> Figure:
    """Enough digits to tell a value from the bound beside it."""
    return Figure(text=f"{value:,.6g}", full=repr(value))


def count(value: Any) -> Figure:
    return Figure(text=f"{value:,}") if is_number(value) else Figure(text=NOT_RECORDED, missing=True)


def whole(value: Any) -> Figure:
    return Figure(text=f"{value:,}") if is_number(value) else gap()


def seconds(value: Any) -> Figure:
    return Figure(text=f"{value:,.1f} s") if is_number(value) else words(None)


def digest(value: Any, keep: int = 12) -> Figure:
    """The first `keep` digits of a digest or pseudonym, the whole in `full`; a prefix such as `sha256:` stays."""
    if not value:
        return Figure(text=NOT_RECORDED, missing=True)
    prefix, colon, digits = str(value).rpartition(":")
    if len(digits) <= keep + 1:
        return Figure(text=str(value))
    return Figure(text=f"{prefix}{colon}{digits[:keep]}…", full=str(value))


def words(value: Any) -> Figure:
    if isinstance(value, bool):
        return Figure(text="yes" if value else "no")
    if value is None or value == {}:
        value = ""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Figure(text=text) if text else Figure(text=NOT_RECORDED, missing=True)


def setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
