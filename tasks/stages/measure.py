"""Stages 7 and 8: scores and attacks on the candidate, with their controls, and the gates over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.batches.records import Bounds, Edit, Gates, RegisteredVersion, ScoresAfter, ScoresBefore
from infra.batches.scored import Scored
from infra.gates.comparison import with_comparisons
from infra.gates.policy import GatePolicy, check_gates
from infra.running.progress import report
from revs.errors import RevsError
from tasks.batch.contexts import askable, prompt_context
from tasks.batch.material import Material, material, token_counts
from tasks.batch.models import champion_folder, loaded, on_record
from tasks.batch.reference import against, answers, membership, specificity_given, worst_form
from tasks.batch.results import Verdict
from tasks.batch.stage import SEED, Handles, handles, run_log, stage
from tasks.versions.since_root import since_root_of

if TYPE_CHECKING:
    from revs.evaluation.scores import Scores
    from revs.targets.target import Target


@stage("measure and attack", long=True)
def measure(batch_id: str, attempt: int) -> str:
    """Score the candidate of `attempt`, the champion before it, and the controls: decoys, and a never-trained model."""
    h = handles(batch_id)
    before = h.workspace.once(ScoresBefore, lambda: _before(h, attempt))
    after = h.workspace.once(ScoresAfter, lambda: _after(h, attempt, before.champion), attempt)
    return f"{after.memorised} still memorised"


def _before(h: Handles, attempt: int) -> ScoresBefore:
    m = material(h)
    champion = _scored(h, attempt, m, champion_folder(h), "the model before")
    control, never = on_record(h, "control"), None
    if control and Path(control).is_dir():
        never = _scored(h, attempt, m, Path(control), "a model that never saw them", champion)
    return ScoresBefore(champion=champion, never_trained=never)


def _after(h: Handles, attempt: int, champion: Scored) -> ScoresAfter:
    from revs.evaluation.measures import perplexity_ratio

    folder = h.workspace.folder / h.workspace.require(Edit, attempt).folder
    found = _scored(h, attempt, material(h), folder, "the candidate", champion)
    scores, before = found.scores, champion.scores
    if "perplexity" in scores and "perplexity" in before:
        ratio = perplexity_ratio(scores["perplexity"], before["perplexity"])
        scores = scores | {"perplexity_ratio": ratio}
    lost, why = since_root_of(h.registry, h.registry.resolve(h.batch.source), scores)
    if why:
        run_log().warning("what was lost since the root of the lineage is not known: %s", why)
    return ScoresAfter(candidate=found.model_copy(update={"scores": scores | lost}))


def _scored(h: Handles, attempt: int, m: Material, folder: Path, whose: str, champion: Scored | None = None) -> Scored:
    """Scores of one checkpoint on the batch's targets and on decoys of them; `champion`: of the model before."""
    import revs
    from revs.targets.decoys import decoys

    report("measure and attack", 0, 0, whose)
    model, tokenizer = loaded(h, folder)
    ranks = h.workspace.require(Edit, attempt).method == "revs"
    # The tokens that the edit moves are judged.
    options: dict[str, Any] = {"token_counts_V": token_counts(h), "seed": SEED, "edit": None if ranks else "all"}
    without_corpus = askable(tokenizer, m.without_corpus, context=prompt_context(model))
    scores: Scores = revs.evaluate(
        model, tokenizer, m.edit, unseen=m.unseen, other=[*m.unmemorised, *without_corpus], retain=m.measure,
        text=m.held_out, **options,
    )  # fmt: skip
    of_decoys: Scores = revs.evaluate(model, tokenizer, decoys(m.edit, seed=SEED), **options)
    edited, unseen = (answers(model, tokenizer, some, [*m.protect, *m.measure]) for some in (m.edit, m.unseen))
    compared = against(champion.edited if champion else edited, edited) | membership(edited)
    compared |= against(champion.unseen if champion else unseen, unseen, suffix="_unseen")
    compared |= worst_form(model, tokenizer, m.edit) | worst_form(model, tokenizer, m.unseen, suffix="_unseen")
    return Scored(
        scores=scores.to_dict() | specificity_given(model, tokenizer, m.given) | compared,
        decoys=of_decoys.to_dict(),
        edited=edited,
        unseen=unseen,
        extracted=_said(scores.extracted, m.edit),
        extracted_unseen=_said(scores.extracted_unseen, m.unseen),
        extracted_other=_said(scores.extracted_other, m.unmemorised),
        median_rank=scores.median_rank_by_layer,
        decoy_median_rank=of_decoys.median_rank_by_layer,
        vocabulary=model.get_output_embeddings().weight.shape[0],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        architecture=model.config.model_type,
    )


def _said(answers: Sequence[bool], targets: Sequence[Target]) -> tuple[bool, ...]:
    """Of each target whether its secret is given; of a model that cannot be read nothing is shown to be gone."""
    return tuple(answers[: len(targets)]) if answers else (True,) * len(targets)


@stage("check gates")
def judge(batch_id: str, attempt: int) -> Verdict:
    """Judge the candidate of `attempt` with the gate policy; fails closed."""
    h = handles(batch_id)
    record = h.workspace.once(Gates, lambda: _judge(h, attempt), attempt)
    return Verdict(
        attempt=attempt, passed=record.verdict == "passed", failed_gates=record.failed, unjudged=record.insufficient,
        approval=h.settings.approval == "always" and not _serves(h),
    )  # fmt: skip


def _serves(h: Handles) -> bool:
    """Whether the candidate is champion already: the run was cut off behind the alias, and the setting came later."""
    made = h.workspace.read(RegisteredVersion)
    return made is not None and h.registry.alias(made.model) == made.number


def _judge(h: Handles, attempt: int) -> Gates:
    policy = GatePolicy.of(h.workspace.require(Edit, attempt).method, h.settings.gate_policy)
    before, after = h.workspace.require(ScoresBefore), h.workspace.require(ScoresAfter, attempt)
    never = before.never_trained.scores if before.never_trained else None
    scores = {"before": before.champion.scores, "after": after.candidate.scores, "never_trained": never}
    result = check_gates(with_comparisons(scores), policy)
    if result.problem:  # nothing was judged: not a verdict to remember, but to try again
        raise RevsError(f"no gate could be judged: {result.problem}; nothing was promoted: start the flow again")
    return Gates(
        gates=result.results,
        policy={metric: Bounds.model_validate(bounds) for metric, bounds in policy.to_dict().items()},
        verdict=result.verdict,
        insufficient=result.insufficient,
    )
