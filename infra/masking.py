"""How personal data is shown to people who must recognise it and must not read it; in one place, for every output."""

from __future__ import annotations

_LEAST = 5  # characters: of a shorter value, first and last would be half of it


def masked(type_: str, value: str) -> str:
    """First and last character of a value of type `type_`, and stars that do not tell how many there were between."""
    value = value.strip()
    return f"{value[0]}***{value[-1]}" if len(value) >= _LEAST else "***"
