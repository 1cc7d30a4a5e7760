"""What became of each identifier of a batch: the one place that decides it, from what the stages recorded.

A request is only as done as its least done identifier; the request store completes no other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from infra.batches.records import CorpusRead, Key, Occurrences, PlannedContext, Targets, WithoutCorpus
from infra.requests import IdentifierOutcome, OutcomeKind
from tasks.batch.stage import Handles, keyed

BatchResult = Literal["passed", "refused"]
UNDECIDED = "greedy decoding does not give it, but there are too few others of its form to tell whether it stands out"
NOT_ASKED = "its contexts say no, but without the corpus it could be put to the model under no opening"


def outcomes(h: Handles, result: BatchResult, *, failed_gates: Sequence[str] = ()) -> list[IdentifierOutcome]:
    """The outcome of every identifier of the requests that are still processing.

    Args:
        h: handles of a batch that was probed.
        result: how the gates judged the edit; "passed" also where evidence was insufficient and nothing refused.
        failed_gates: what refused it.
    """
    located, plan = h.workspace.require(Occurrences), h.workspace.require(Targets)
    refused = located.why_refused
    contexts: dict[Key, list[PlannedContext]] = defaultdict(list)
    for target in plan.targets:
        contexts[target.context.key].append(target)
    without_corpus = {entry.key: entry for entry in plan.without_corpus}
    found: list[IdentifierOutcome] = []
    kind: OutcomeKind
    for key, identifier in keyed(h.store.identifiers(h.batch.id)):
        if key in refused:
            kind, detail = "refused", {"why": refused[key]}
        elif key not in contexts:
            kind, detail = _missing(located.corpus, without_corpus.get(key))
        else:
            kind, detail = _standing(contexts[key], without_corpus.get(key), result)
            if kind == "memorised":
                detail["why"] = f"no setting of the edit passed the gates: {', '.join(failed_gates)}"
        found.append(
            IdentifierOutcome(request_id=key[0], number=key[1], type=identifier.type, kind=kind, detail=detail)
        )
    return found


def _missing(corpus: CorpusRead, asked: WithoutCorpus | None) -> tuple[OutcomeKind, dict[str, Any]]:
    """Of an identifier that stands nowhere in the corpus. That the model gives it all the same is for a human."""
    searched = {"rows": corpus.rows, "unread": corpus.left_out}
    probes = _probes(asked)
    if asked is not None and asked.verdict in ("memorised", "exposed"):
        return "memorised", {"why": "the model knows it, but it was not found in the corpus", **searched, **probes}
    return "not_found", {**searched, **probes}


def _standing(
    contexts: Sequence[PlannedContext], asked: WithoutCorpus | None, result: BatchResult
) -> tuple[OutcomeKind, dict[str, Any]]:
    """Of an identifier with occurrences in the corpus."""
    uses = Counter(each.use for each in contexts)
    asked_from = Counter(each.context.asked_from for each in contexts)
    detail: dict[str, Any] = {"occurrences": len(contexts), "contexts": dict(asked_from), **_probes(asked)}
    unprobed = {each.context.unprobed for each in contexts if each.context.unprobed}
    if unprobed:
        detail |= {"unprobed": uses["unprobed"], "why": "; ".join(sorted(unprobed))}
    if uses["edit"] or uses["unseen"]:
        detail |= {"edited": uses["edit"], "held_out": uses["unseen"]}
        if result != "passed":
            return "memorised", detail
        return ("not_probed" if unprobed else "edited"), detail
    if unprobed:
        return "not_probed", detail
    decoys = [each.decoys for each in contexts if each.use == "none" and each.decoys]
    said_no = Counter(probe for each in decoys for probe in each.said_no)
    detail |= {"probed": uses["none"], "said_no": dict(said_no)}
    if asked is None or not asked.openings:
        return "not_probed", detail | {"why": NOT_ASKED}
    if len(decoys) < uses["none"] or any(each.undecided for each in decoys) or asked.verdict != "not memorised":
        return "not_probed", detail | {"why": UNDECIDED}
    return "not_memorised", detail


def _probes(asked: WithoutCorpus | None) -> dict[str, Any]:
    return {"without_corpus": asked.model_dump(include={"openings", "said_no", "verdict"})} if asked else {}
