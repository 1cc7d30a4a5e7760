"""`revs lineage`: where a version comes from, verified version by version, and its bill of materials."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, console, emit, settings_of

if TYPE_CHECKING:
    from rich.console import Console

_MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "dim")}
_DIGITS = 12
_PSEUDONYM = re.compile(rf"([0-9a-f]{{{_DIGITS}}})[0-9a-f]{{20,}}")
_NAMED = 3


def lineage(
    model_uri: Annotated[str, typer.Argument(help="models:/NAME/3, models:/NAME@alias, or NAME for its champion.")],
    records_only: Annotated[
        bool, typer.Option("--records-only", help="Verify signatures, documents and log; do not read the weights.")
    ] = False,
    bom: Annotated[
        Path | None, typer.Option(help="Write a CycloneDX bill of materials (JSON) of the version to this file.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print where a version comes from, back to its root, and verify all of it; exit 1 if anything does not hold.

    Of each version: its signature, tags and documents; its weights, digested again; that its parent is the one it was
    made from, and what differs from that one; that the log of the request store, the alias and the data sets that
    MLflow shows say the same. No identifier is shown, and of a corpus only a reference.

    Example: revs lineage models:/support-bot/4 --bom support-bot-4.cdx.json
    """
    settings = settings_of(home)
    from tasks.versions.chain import read_chain
    from tasks.versions.described import document

    chain = read_chain(settings, model_uri, read_weights=not records_only)
    found = document(chain)
    if as_json:
        emit(found | {"records_only": records_only})
    else:
        _show(found, console(), records_only=records_only)
    chain.raise_if_broken()
    if bom is not None:
        from infra.registry.bom import write_bom

        write_bom(found["versions"], name=found["model"], signature=chain.links[0].signature, to=bom)
        if not as_json:
            console().print(f"bill of materials in {bom}", soft_wrap=True)


def _show(found: Mapping[str, Any], screen: Console, *, records_only: bool) -> None:
    for version in found["versions"]:
        mark, style = _MARKS[version["holds"]]
        alias = "".join(f", alias {name}" for name in version["aliases"])
        screen.print(f"{mark} {version['uri']}  {version['status'] or 'no status'}{alias}", style=style, soft_wrap=True)
        for name, text in _lines(version):
            if text:
                screen.print(f"    {name:<11} {text}", soft_wrap=True)
        for check in version["checks"]:
            mark, style = _MARKS[check["holds"]]
            screen.print(f"  {mark} {check['name']}: {check['said']}", style=style, soft_wrap=True)
    unread = "; weights were not read" if records_only else ""
    end = f"the chain of {found['versions'][0]['uri']} holds" if found["holds"] else "the chain does not hold"
    count = len(found["versions"])
    screen.print(f"{end}: {count} version{'' if count == 1 else 's'}{unread}")


def _lines(version: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is told of a version, a line each; one without text has nothing on record."""
    by = f", approved by {version['approved_by']}" if version["approved_by"] else ""
    yield "registered", f"{version['registered'] or ''}{_of_a_batch(version)}"
    yield "weights", _short(version["weights"])
    yield "parent", version["parent"] or "none: a root"
    yield "signer", f"{_short(version['signer']) or 'none'}{by}"
    yield "changed", _changed(version["patch"])
    yield "requests", f"{len(version['requests'])}, by keyed digest" if version["requests"] else ""
    yield "code", version["code_commit"] or ""
    yield "packages", ", ".join(f"{name} {number}" for name, number in version["versions"].items())
    yield "settings", _short(version["config"])
    for name, place in version["texts"].items():
        yield name.replace("_", " "), _place(place)
    for each in version["datasets"]:
        yield "data set", _data_set(each)
    for name, value in version["metrics"].get("after", {}).items():
        yield "metric", f"{name} {_number(value)}{_controls(version['metrics'], name)}"
    yield "gates", _verdict(version)


def _of_a_batch(version: Mapping[str, Any]) -> str:
    return f" by batch {version['batch']}" if version["batch"] else ""


def _changed(patch: Mapping[str, Any] | None) -> str:
    if patch is None:
        return ""
    names = [each["name"] for each in patch["tensors"]]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    tensors = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return f"{tensors}: {', '.join(names[:_NAMED])}{more}; list {_short(patch['digest'])}"


def _data_set(entry: Mapping[str, Any]) -> str:
    name = _PSEUDONYM.sub(r"\1", entry["name"])
    rows = "? rows" if entry["rows"] is None else f"{entry['rows']:,} rows"
    return f"{entry['role']} {name}, {rows}, {_short(entry['digest'])}, {_place(entry)}"


def _place(place: Mapping[str, Any]) -> str:
    if place["reference"] is None:
        return "kept elsewhere; no reference on record"
    opens = "opens" if place["opens_here"] else "does not know"
    return f"{place['reference']}, which this installation {opens}"


def _controls(metrics: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The same metric before the edit and on the controls, in brackets."""
    beside = [
        f"{part.replace('_', ' ')} {_number(values[name])}"
        for part, values in metrics.items()
        if part != "after" and values.get(name) is not None
    ]
    return f" ({', '.join(beside)})" if beside else ""


def _verdict(version: Mapping[str, Any]) -> str:
    if version["verdict"] is None:
        return "" if version["parent"] else "none: nothing was erased"
    gates = version["gates"]
    policy = f"; policy {_short(version['policy']['digest'])}" if version["policy"] else ""
    missing = f"; not measured: {', '.join(version['insufficient'])}" if version["insufficient"] else ""
    passed = sum(gate.get("passed") is True for gate in gates)
    return f"{version['verdict']}: {passed} of {len(gates)} gates{missing}{policy}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def _short(digest: str | None) -> str:
    """The beginning of a digest, its kind kept."""
    kind, colon, value = (digest or "").rpartition(":")
    return f"{kind}{colon}{value[:_DIGITS]}"
