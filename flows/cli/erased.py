"""What `revs scan --erased` says: what of the erased a model generates again, or a corpus holds again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flows.cli.common import console, table

if TYPE_CHECKING:
    from tasks.corpus.returned import Returned


def show_returned(returned: Returned, sampled: int) -> None:
    """Print what of the erased identifiers was generated, and how much of a look that was."""
    if not _is_compared(returned):
        return
    _show_types(returned, sampled, found="generated", places="continuations")
    console().print(
        f"{returned.continuations} of {sampled} continuations hold one; with 95 % confidence at most "
        f"{returned.at_most:.2%} of those drawn like these do. What is generated only after a person's name is not "
        "among them."
    )
    _show_not_listed(returned)


def refuse_returned(returned: Returned, model: str, sampled: int) -> None:
    """Raise GateRefused where a model generates what was erased."""
    from revs.errors import GateRefused

    if returned.generated:
        raise GateRefused(
            f"{model} generates {_how_many(returned)}, in "
            f"{returned.continuations} of {sampled} continuations: do not serve it, go back to a version that does not"
        )


def corpus_holds(held: Returned) -> dict[str, Any]:
    """Return what of the erased a corpus holds, as plain JSON."""
    names = {"generated": "found", "continuations": "rows"}
    types = [{names.get(name, name): value for name, value in asdict(each).items()} for each in held.types]
    return {"rows": held.continuations, "not_listed": held.not_listed, "types": types}


def show_held(held: Returned, read: int) -> None:
    """Print what of the erased identifiers stands in the rows of a corpus."""
    if not _is_compared(held):
        return
    _show_types(held, read, found="found", places="rows")
    _show_not_listed(held)


def refuse_held(held: Returned, corpus: str, read: int) -> None:
    """Raise GateRefused where a corpus holds what was erased."""
    from revs.errors import GateRefused

    if held.generated:
        raise GateRefused(
            f"{corpus} holds {_how_many(held)}, in "
            f"{held.continuations} of {read} rows: take these rows out before a model is trained on it; "
            "--findings FILE says where they are"
        )


def _show_types(returned: Returned, read: int, *, found: str, places: str) -> None:
    rows: list[Mapping[str, Any]] = [
        {
            "type": each.type,
            "erased": each.erased,
            found: each.generated if each.sought or each.generated else "not looked for",
            places: each.continuations,
            "erased on": ", ".join(map(str, each.erased_on)),
        }
        for each in returned.types
    ]
    table(f"erased identifiers, in {read} {places}", rows)


def _how_many(returned: Returned) -> str:
    types = ", ".join(f"{each.type} {each.generated}" for each in returned.types if each.generated)
    return f"{returned.generated} of {returned.erased} erased identifiers again ({types})"


def _is_compared(returned: Returned) -> bool:
    if not returned.erased:
        console().print(
            "nothing was compared: no batch that keeps digests has erased anything here yet", style="yellow"
        )
    return bool(returned.erased)


def _show_not_listed(returned: Returned) -> None:
    from infra.requests.outcomes import plural

    if returned.not_listed:
        earlier = plural(returned.not_listed, "completed request")
        console().print(f"no digest was kept of {earlier}: what those erased is not compared", style="yellow")
