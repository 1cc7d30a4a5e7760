"""What became of each identifier of a batch: the one place that decides it, from what the stages recorded.

A request is only as done as its least done identifier; the request store completes no other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from infra.requests import Identifier, IdentifierOutcome
from tasks.batch.stage import Handles
from tasks.stages.locate import unread_in

BatchResult = Literal["passed", "refused"]
UNDECIDED = "greedy decoding does not give it, but there are too few others of its form to tell whether it stands out"
NOT_ASKED = "its contexts say no, but without the corpus it could be put to the model under no opening"
Named = tuple[str, int]
"""The id of a request, and the number of the identifier in it, from 0."""


def outcomes(h: Handles, result: BatchResult, *, failed_gates: Sequence[str] = ()) -> list[IdentifierOutcome]:
    """The outcome of every identifier of the requests that are still processing.

    Args:
        h: handles of a batch that was probed.
        result: how the gates judged the edit; "passed" also where evidence was insufficient and nothing refused.
        failed_gates: what refused it.
    """
    located, plan = h.workspace.require("occurrences"), h.workspace.require("targets")
    refused = {_named(entry): entry["reason"] for entry in located["refused"]}
    rows: dict[Named, list[dict[str, Any]]] = defaultdict(list)
    for row in plan["targets"]:
        rows[_named(row)].append(row)
    without_corpus = {_named(entry): entry for entry in plan["without_corpus"]}
    found: list[IdentifierOutcome] = []
    for request_id, identifiers in h.store.identifiers(h.batch.id).items():
        for number, identifier in enumerate(identifiers):
            name = (request_id, number)
            if name in refused:
                kind, detail = "refused", {"why": refused[name]}
            elif name not in rows:
                kind, detail = _missing(located, without_corpus.get(name))
            else:
                kind, detail = _standing(rows[name], without_corpus.get(name), result)
                if kind == "memorised":
                    detail["why"] = f"no setting of the edit passed the gates: {', '.join(failed_gates)}"
            found.append(_outcome(name, identifier, kind, detail))
    return found


def _named(entry: dict[str, Any]) -> Named:
    return entry["request_id"], entry["identifier"]


def _outcome(name: Named, identifier: Identifier, kind: Any, detail: dict[str, Any]) -> IdentifierOutcome:
    return IdentifierOutcome(request_id=name[0], number=name[1], type=identifier.type, kind=kind, detail=detail)


def _missing(located: dict[str, Any], asked: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Of an identifier that stands nowhere in the corpus. That the model gives it all the same is for a human."""
    searched = {"rows": located["corpus"]["rows"], "unread": unread_in(located["corpus"])}
    probes = _probes(asked)
    if asked is not None and asked["verdict"] in ("memorised", "exposed"):
        return "memorised", {"why": "the model knows it, but it was not found in the corpus", **searched, **probes}
    return "not_found", {**searched, **probes}


def _standing(
    rows: list[dict[str, Any]], asked: dict[str, Any] | None, result: BatchResult
) -> tuple[str, dict[str, Any]]:
    """Of an identifier with occurrences in the corpus."""
    uses = Counter(row["use"] for row in rows)
    detail: dict[str, Any] = {"occurrences": len(rows), "contexts": dict(Counter(r["asked_from"] for r in rows))}
    detail |= _probes(asked)
    unprobed = Counter(row["unprobed"] for row in rows if row["use"] == "unprobed")
    if unprobed:
        detail |= {"unprobed": uses["unprobed"], "why": "; ".join(sorted(unprobed))}
    if uses["edit"] or uses["unseen"]:
        detail |= {"edited": uses["edit"], "held_out": uses["unseen"]}
        if result != "passed":
            return "memorised", detail
        return ("not_probed" if unprobed else "edited"), detail
    if unprobed:
        return "not_probed", detail
    probed = [row for row in rows if row["use"] == "none"]
    detail |= {"probed": len(probed), "said_no": dict(Counter(name for row in probed for name in row["said_no"]))}
    if asked is None or not asked["openings"]:
        return "not_probed", detail | {"why": NOT_ASKED}
    if any(row["undecided"] for row in probed) or asked["verdict"] != "not memorised":
        return "not_probed", detail | {"why": UNDECIDED}
    return "not_memorised", detail


def _probes(asked: dict[str, Any] | None) -> dict[str, Any]:
    return {"without_corpus": {key: asked[key] for key in ("openings", "said_no", "verdict")}} if asked else {}
