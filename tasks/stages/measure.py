"""Stages 7 and 8: scores and attacks on the candidate, with their controls, and the gates over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.gates.policy import GatePolicy, check_gates
from infra.running.progress import report
from revs.errors import RevsError
from tasks.batch.material import Material, material
from tasks.batch.models import champion_folder, loaded, on_record
from tasks.batch.records import Measured, Verdict
from tasks.batch.stage import Handles, handles, stage
from tasks.batch.targets import askable, prompt_context
from tasks.stages.choose import token_counts
from tasks.stages.probe import SEED

if TYPE_CHECKING:
    from torch import Tensor

    from revs.evaluation.scores import Scores
    from revs.targets.target import Target


@stage("measure and attack")
def measure(batch_id: str, attempt: int) -> Measured:
    """Score the candidate of `attempt`, the champion before it, and the controls: decoys, and a never-trained model."""
    h = handles(batch_id)
    before = h.workspace.once("scores-before", lambda: _before(h))
    after = h.workspace.once(f"scores-{attempt}", lambda: _after(h, attempt, before))
    return Measured(attempt=attempt, memorised_after=after["memorised_after"])


def _before(h: Handles) -> dict[str, Any]:
    m, counts_V = material(h), token_counts(h)
    record = _scored(h, champion_folder(h), m, counts_V, "the model before")
    control = on_record(h, "control")
    if control and Path(control).is_dir():
        never = _scored(h, Path(control), m, counts_V, "a model that never saw them")
        record |= {"never_trained": never["scores"]}
    return record


def _after(h: Handles, attempt: int, before: dict[str, Any]) -> dict[str, Any]:
    from revs.evaluation.measures import perplexity_ratio

    folder = h.workspace.folder / h.workspace.require(f"edit-{attempt}")["folder"]
    record = _scored(h, folder, material(h), token_counts(h), "the candidate")
    scores = record["scores"]
    if "perplexity" in scores and "perplexity" in before["scores"]:
        scores["perplexity_ratio"] = perplexity_ratio(scores["perplexity"], before["scores"]["perplexity"])
    record["memorised_after"] = sum(
        sum(record[flags]) for flags in ("extracted", "extracted_unseen", "extracted_other")
    )
    return record


def _scored(h: Handles, folder: Path, m: Material, counts_V: Tensor, whose: str) -> dict[str, Any]:
    """Scores of one checkpoint on the batch's targets and on decoys of them."""
    import revs
    from revs.targets.decoys import decoys

    report("measure and attack", 0, 0, whose)
    model, tokenizer = loaded(h, folder)
    options: dict[str, Any] = {"token_counts_V": counts_V, "seed": SEED}
    without_corpus = askable(tokenizer, m.without_corpus, context=prompt_context(model))
    scores: Scores = revs.evaluate(
        model, tokenizer, m.edit, unseen=m.unseen, other=[*m.unmemorised, *without_corpus], retain=m.measure,
        text=m.held_out, **options,
    )  # fmt: skip
    of_decoys: Scores = revs.evaluate(model, tokenizer, decoys(m.edit, seed=SEED), **options)
    return {
        "scores": scores.to_dict(),
        "decoys": of_decoys.to_dict(),
        "extracted": _said(scores.extracted, m.edit),
        "extracted_unseen": _said(scores.extracted_unseen, m.unseen),
        "extracted_other": _said(scores.extracted_other, m.unmemorised),
        "median_rank": scores.median_rank_by_layer,
        "decoy_median_rank": of_decoys.median_rank_by_layer,
        "vocabulary": model.get_output_embeddings().weight.shape[0],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "architecture": model.config.model_type,
    }


def _said(answers: Sequence[bool], targets: Sequence[Target]) -> list[bool]:
    """Of each target whether its secret is given; of a model that cannot be read nothing is shown to be gone."""
    return list(answers[: len(targets)]) if answers else [True] * len(targets)


@stage("check gates")
def judge(batch_id: str, attempt: int) -> Verdict:
    """Judge the candidate of `attempt` with the gate policy; fails closed."""
    h = handles(batch_id)
    record = h.workspace.once(f"gates-{attempt}", lambda: _judge(h, attempt))
    failed = tuple(gate["name"] for gate in record["gates"] if not gate["passed"])
    return Verdict(
        attempt=attempt,
        passed=record["verdict"] == "passed",
        failed_gates=failed,
        unjudged=tuple(record["insufficient"]),
    )


def _judge(h: Handles, attempt: int) -> dict[str, Any]:
    scores = h.workspace.require(f"scores-{attempt}")["scores"]
    result = check_gates(scores, GatePolicy.DEFAULT)
    if result.problem:  # nothing was judged: not a verdict to remember, but to try again
        raise RevsError(f"no gate could be judged: {result.problem}; nothing was promoted: start the flow again")
    return {
        "gates": [gate.to_dict() for gate in result.results],
        "policy": GatePolicy.DEFAULT.to_dict(),
        "verdict": result.verdict,
        "insufficient": list(result.insufficient),
    }
