"""Outcomes of identifiers in words, and what they make of a request: completed only if each of them is settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def described(kind: str, detail: Mapping[str, Any]) -> str:
    """One outcome in a few words: what was done, found, or asked. Never a value."""
    return _WORDS[kind](detail)


def plural(number: Any, noun: str) -> str:
    """The number with its noun."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _edited(detail: Mapping[str, Any]) -> str:
    held_out = f", {detail['held_out']} kept to test the edit" if detail.get("held_out") else ""
    return f"edited in {plural(detail.get('edited', 0), 'context')}{held_out}"


def _not_memorised(detail: Mapping[str, Any]) -> str:
    where = f"{plural(detail.get('occurrences', 0), 'occurrence')} in the corpus"
    probes = ", ".join(sorted(detail.get("said_no") or {})) or "greedy decoding"
    return f"not memorised: {where}, and {probes} said no{_openings(detail)}"


def _memorised(detail: Mapping[str, Any]) -> str:
    return f"memorised, and not erased ({detail.get('why', 'no reason recorded')})"


def _not_probed(detail: Mapping[str, Any]) -> str:
    why = detail.get("why", "no reason recorded")
    if not detail.get("unprobed"):
        return f"not decided: {why}"
    return f"{detail['unprobed']} of {plural(detail.get('occurrences', 0), 'occurrence')} could not be probed ({why})"


def _not_found(detail: Mapping[str, Any]) -> str:
    unread = f", in what could be read of them ({detail['unread']} could not be)" if detail.get("unread") else ""
    return f"not found in {plural(detail.get('rows', 0), 'row')} of the corpus{unread}, check it{_openings(detail)}"


def _refused(detail: Mapping[str, Any]) -> str:
    return f"not sought: {detail.get('why', 'no reason recorded')}"


def _not_sought(_: Mapping[str, Any]) -> str:
    return "no batch has sought it yet"


def _dropped(detail: Mapping[str, Any]) -> str:
    return f"dropped: {detail['why']}"


def _openings(detail: Mapping[str, Any]) -> str:
    asked = detail.get("without_corpus") or {}
    if not asked.get("openings"):
        return ""
    return f"; under {plural(asked['openings'], 'prompt')} that need no corpus: {asked['verdict']}"


_WORDS = {
    "edited": _edited,
    "not_memorised": _not_memorised,
    "memorised": _memorised,
    "not_probed": _not_probed,
    "not_found": _not_found,
    "refused": _refused,
    "not_sought": _not_sought,
    "dropped": _dropped,
}
