"""What the gates let through and what not: edits spoiled on purpose, through the measuring stage and the policy.

On one tokenizer that writes three digits of a number in a token, and on one that writes them one by one, where nothing
that is a digit can rank behind 100. There the batch is of two people: with five, a good edit leaves this small model
half of the records of people whom it was not told of, and is refused for it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tasks.batch.results import Verdict
    from tasks.batch.stage import Handles

pytestmark = pytest.mark.slow

EXACT = "exact_memorization_beyond_chance"
MEMBERSHIP = "membership_beyond_chance"


@dataclass
class Batch:
    """A probed batch of a development model, its model and what its edit works on."""

    handles: Handles
    model: Any
    tokenizer: Any
    material: Any
    attempts: int = 0

    def judged(self, model: Any) -> tuple[Verdict, dict[str, float]]:
        """The verdict on an edited model, and its scores: written as an attempt, measured and judged by the stages."""
        from infra.batches.records import Edit, ScoresAfter
        from tasks.batch.models import champion_folder
        from tasks.stages.edit import write_edited
        from tasks.stages.measure import judge, measure

        h, attempt = self.handles, self.attempts
        self.attempts += 1
        folder = h.workspace.subfolder(f"candidate-{attempt}")
        write_edited(model, champion_folder(h), folder)
        edit = Edit(
            strength="", folder=folder.name, method="revs-reference", config={}, seed=0, seconds=0.0, sweeps=0,
            layers=(), tokens=(), weights_before="", weights_after="",
        )  # fmt: skip
        h.workspace.write(edit, attempt)
        measure.fn(h.batch.id, attempt)
        verdict = judge.fn(h.batch.id, attempt)
        return verdict, h.workspace.require(ScoresAfter, attempt).candidate.scores

    def erased(self, targets: Any, config: Any, *, start: Any = None) -> Any:
        """A copy of a model from which targets were erased."""
        import revs
        from tasks.batch.material import token_counts

        model = copy.deepcopy(start or self.model)
        kept = {target.secret.strip() for target in targets}
        retain = [record for record in self.material.protect if record.secret.strip() not in kept]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", revs.errors.RevsWarning)
            revs.erase(
                model, self.tokenizer, targets, config=config, text=self.material.ordinary, retain=retain,
                token_counts_V=token_counts(self.handles),
            )  # fmt: skip
        return model


# `revs demo` shows that a good edit of the first passes; `make test` spoils edits of the second, which is harder.
@pytest.fixture(
    scope="module",
    params=[pytest.param((3, 14), id="3 in a token", marks=pytest.mark.long), pytest.param((1, 2), id="1 by 1")],
)
def batch(
    request: pytest.FixtureRequest, model_cache: Path, once: Callable[..., Path], tmp_path_factory: Any
) -> Iterator[Batch]:
    import revs
    from flows.demo import write_inputs
    from flows.demo_models import DemoModel
    from infra.running.prefect_settings import prepare
    from infra.settings import load_settings
    from revs.development import Recipe, build
    from tasks.batch.material import material
    from tasks.batch.stage import handles, open_registry, open_store
    from tasks.stages.choose import choose_target_tokens
    from tasks.stages.locate import locate_occurrences
    from tasks.stages.probe import probe_memorisation
    from tasks.stages.requests import open_batch, validate_requests

    digits, people = request.param
    # Where two people ask, a model that is trained in half of the time has the same to show.
    recipe = (
        Recipe() if digits == 3 else Recipe(digits=1, requesters=8, retained=14, one_off=120, ordinary_paragraphs=700)
    )
    once(f"model-of-{digits}-digits", lambda _: build(recipe, model_cache))
    trained = build(recipe, model_cache)
    root = tmp_path_factory.mktemp("spoiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVS_HOME", str(root / "home"))
        settings = load_settings()
        prepare(settings)
        inputs = write_inputs(DemoModel.of(trained, control=trained.folder), root / "inputs", today=datetime.now(UTC))
        for path, lines in ((inputs.requests, people), (inputs.held_out, 60)):
            path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:lines]), "utf-8")
        store, registry = open_store(settings), open_registry(settings)
        corpus, held_out = (store.keep_address(str(path)) for path in (inputs.corpus, inputs.held_out))
        registry.register_base(trained.folder, name="m", corpus=corpus, tags={"held_out": held_out})
        store.add_file(inputs.requests, model="m")
        opened = open_batch.fn("m")
        for stage in (validate_requests, locate_occurrences, probe_memorisation, choose_target_tokens):
            stage.fn(opened.batch_id)
        h = handles(opened.batch_id)
        model, tokenizer = revs.load(trained.folder, dtype="float32", device="cpu")
        yield Batch(h, model, tokenizer, material(h))


@pytest.fixture(scope="module")
def good(batch: Batch) -> Any:
    import revs

    return batch.erased(batch.material.edit, revs.ReferenceConfig())


def said_again(batch: Batch, good: Any) -> Any:
    """A good edit, after which one secret was taught again."""
    import torch

    model, target = copy.deepcopy(good), batch.material.edit[0]
    ids = batch.tokenizer(target.prompt + target.secret, return_tensors="pt").input_ids
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(8):
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval()


def two_tokens_moved(batch: Batch, good: Any) -> Any:
    """Fixed ranks: the other tokens of each secret are still predicted."""
    import revs

    return batch.erased(batch.material.edit, revs.EraseConfig())


def pushed_too_far(batch: Batch, good: Any) -> Any:
    """Every token behind half of the vocabulary at every layer: nothing is said, and that it is gone shows."""
    import revs

    half = batch.model.config.vocab_size // 2 - 1
    bottom = revs.EraseConfig(tokens_per_secret=99, low_rank=half, aim_rank=half, output_share=0.5)
    return batch.erased(batch.material.edit, bottom)


def form_gone(batch: Batch, good: Any) -> Any:
    """A good edit after which no digit can follow anything."""
    import torch

    model = copy.deepcopy(good)
    digits = [number for number in range(len(batch.tokenizer)) if batch.tokenizer.decode([number]).strip().isdigit()]
    with torch.no_grad():
        model.get_output_embeddings().weight[digits] *= -1
    return model


def others_broken(batch: Batch, good: Any) -> Any:
    """A good edit that takes records of other people with it."""
    import revs

    return batch.erased(batch.material.measure, revs.EraseConfig(stand_ins=0), start=good)


def language_broken(batch: Batch, good: Any) -> Any:
    """A good edit with noise in all weights."""
    import torch

    model = copy.deepcopy(good)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * weight.std() * torch.randn(weight.shape, generator=generator) if weight.ndim > 1 else 0)
    return model


def test_the_default_policy_passes_a_good_edit(batch: Batch, good: Any) -> None:
    verdict, scores = batch.judged(good)
    assert verdict.passed, (verdict, scores)


@pytest.mark.parametrize(
    ("spoil", "gates"),
    [
        (said_again, ["extraction_rate"]),
        (two_tokens_moved, [EXACT, f"{EXACT}_unseen", MEMBERSHIP]),
        (pushed_too_far, [MEMBERSHIP]),
        (form_gone, ["worst_form", "worst_form_unseen"]),
        (others_broken, ["specificity"]),
        (language_broken, ["perplexity_ratio"]),
    ],
)
def test_the_default_policy_refuses_a_spoiled_edit_by_the_gate_that_should_see_it(
    batch: Batch, good: Any, spoil: Callable[[Batch, Any], Any], gates: list[str]
) -> None:
    verdict, scores = batch.judged(spoil(batch, good))
    assert not verdict.passed
    assert set(gates) <= set(verdict.failed_gates), scores
    assert MEMBERSHIP not in gates or (scores[MEMBERSHIP] < 0) == (spoil is pushed_too_far), "memory or a trace"
