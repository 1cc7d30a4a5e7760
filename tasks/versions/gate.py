"""The gates as a door of their own: judge any registered version, by its record or by measuring it again."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.batches.records import Context, Key, Occurrences
from infra.batches.workspace import Workspace
from infra.corpus import Corpus, absolute
from infra.gates.comparison import with_comparisons
from infra.gates.policy import GatePolicy, GateReport, check_gates
from infra.keys.vault import Vault
from infra.registry import ModelVersion, Registry
from infra.registry.records import PARENT
from infra.requests import Clock, RequestStore
from infra.requests.addresses import PREFIX
from infra.settings import Settings
from revs.errors import BadInput, GateRefused
from tasks.batch.contexts import contexts_of, not_erased, prompt_context, targets_of
from tasks.batch.models import loaded
from tasks.batch.reference import against, answers, membership
from tasks.batch.stage import SEED, Handles, open_registry, open_store
from tasks.stages.locate import search
from tasks.versions.lineage import contradictions, require_signature_kept, require_whole_lineage
from tasks.versions.since_root import since_root_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.targets.target import Target


def judge_record(
    settings: Settings, model_uri: str, *, policy: GatePolicy | None = None
) -> tuple[ModelVersion, GateReport]:
    """Judge the recorded metrics of a version, after checking that its stored files are the measured ones.

    What was lost since the root of its lineage is worked out from the record where an older program left it out.

    Args:
        settings: the installation.
        model_uri: the version.
        policy: None: that of the installation for the method that edited the version.

    Raises:
        BadInput: no such version.
        GateRefused: it carries no measurements, its weights are not those that were measured, or registry and request
            store say different things of it.
    """
    registry = open_registry(settings)
    version = registry.resolve(model_uri)
    registry.require_bytes(version)
    evidence = registry.evidence(version)
    scores = ((evidence or {}).get("scores") or {}).get("after")
    if evidence is None or not scores:
        raise GateRefused(
            f"{version.uri} carries no measurements: it was never edited and attacked here, so nothing shows that it "
            "has forgotten anybody; process its deletion requests, or measure it with --requests and --corpus"
        )
    if denied := contradictions(open_store(settings), version, evidence):
        raise GateRefused(f"{version.uri} is not the model that was measured: {'; '.join(denied)}; do not serve it")
    registry.download(version)  # its files are those that were registered, so its digest is that of the bytes
    if version.weights != (evidence.get("model") or {}).get("weights_after"):
        raise GateRefused(f"{version.uri} is not the model that was measured: its weights differ; do not serve it")
    _, *line = registry.ancestry(version)  # also where the entry of the version it was made from was deleted
    if line:
        scores = since_root_of(registry, line[0], scores)[0] | scores
    judged = with_comparisons(evidence["scores"] | {"after": scores})
    return version, check_gates(judged, policy or _policy(settings, evidence))


def judge_anew(
    settings: Settings,
    model_uri: str,
    *,
    requests: str,
    corpus: str,
    held_out: str | None,
    policy: GatePolicy | None = None,
) -> tuple[ModelVersion, GateReport]:
    """Measure a version on the identifiers of a request file, and judge it. Nothing is stored.

    All occurrences of all identifiers are attacked, and all their tokens are judged: which of them an edit chose does
    not depend on this file. Specificity and perplexity are compared with the version it was
    made from; a version without one fails the gates that need the comparison. No control is measured.

    Args:
        settings: the installation.
        model_uri: the version.
        requests: the request file.
        corpus: in which the identifiers are looked for.
        held_out: for perplexity; None: the text that the version was registered with, else rows of the corpus.
        policy: None: that of the installation for the method that edited the version.

    Raises:
        BadInput: no such version, an unusable request file or corpus, or no identifier stands in the corpus.
        OperationFailed: it is not what was signed, or its signature is gone.
    """
    corpus, held_out = absolute(corpus), absolute(held_out) if held_out else None
    registry = open_registry(settings)
    version = registry.resolve(model_uri)
    registry.require_bytes(version)
    require_signature_kept(open_store(settings), version)
    with tempfile.TemporaryDirectory(prefix="gate-", dir=settings.home) as scratch:
        h = _scratch_batch(settings, registry, version, requests, corpus, Path(scratch))
        judged_by = policy or _policy(settings, registry.evidence(version))
        scores, unjudged = _measure(h, version, _ordinary_text(settings, version, held_out), judged_by)
        return version, replace(check_gates(with_comparisons(scores), judged_by), unjudged=unjudged)


def _policy(settings: Settings, evidence: Mapping[str, Any] | None) -> GatePolicy:
    """The installation's policy for the method that the version was edited with, as its evidence says."""
    return GatePolicy.of(((evidence or {}).get("edit") or {}).get("method"), settings.gate_policy)


def refuse_lost_erasures(settings: Settings, version: ModelVersion) -> None:
    """Refuse a version, however well it scored, that lacks what a completed batch of its model erased.

    Raises:
        GateRefused: it does.
    """
    require_whole_lineage(open_registry(settings), open_store(settings), version)


def _scratch_batch(
    settings: Settings, registry: Registry, version: ModelVersion, requests: str, corpus: str, scratch: Path
) -> Handles:
    """A batch of the file's requests in a store of its own, sealed with a key that is never written down."""
    store = RequestStore(f"sqlite:///{scratch / 'requests.db'}", Vault(secrets.token_bytes(32)), Clock.of(settings))
    store.add_file(requests, model=version.name)
    batch = store.open_batch(model=version.name, corpus=corpus, source=version.uri)
    if batch is None:
        raise BadInput(f"{requests} holds no well-formed request for {version.name!r}; nothing was judged")
    return Handles(settings, store, registry, batch, Workspace(scratch, batch.id))


def _measure(
    h: Handles, version: ModelVersion, ordinary: Corpus | None, policy: GatePolicy
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The scores of a version on the identifiers of a scratch batch, and the identifiers that it leaves unjudged.

    The scores are by model, as evidence has them: those of its parent only where a gate compares with them.
    """
    from revs.evaluation.decoding import greedily_extracted
    from revs.evaluation.measures import perplexity_ratio
    from revs.evaluation.perplexity import perplexity
    from revs.targets.tokenize import tokenise

    corpus = Corpus.open(h.batch.corpus)
    found = h.workspace.write(search(h, corpus))
    if not found.occurrences:
        raise BadInput(
            f"none of the identifiers stands in the corpus {h.batch.corpus}{found.corpus.reservation}; "
            "nothing was judged: check it"
        )
    copies = h.workspace.folder / "models"
    model, tokenizer = loaded(h, h.registry.checkout(version, copies))
    cut = [
        contexts_of(corpus, some, tokenizer, context=prompt_context(model), joined_by=h.settings.rows_joined_by)
        for some in (found.occurrences, found.others)
    ]
    own, beside = ([context for context in some if context.unprobed is None] for some in cut)
    targets = targets_of(corpus, own)
    others = targets_of(corpus, not_erased(corpus, beside, (target.secret for target in targets)))
    if not targets:
        raise BadInput(f"none of the occurrences could be put to {version.uri}: {cut[0][0].unprobed}")
    text = [text for _, text in (ordinary or islice(corpus, 200))]
    retain: list[Target] = []
    reference, compared, of_parent = None, {}, {}
    if parent := _parent(h.registry, version):
        before, _ = loaded(h, h.registry.checkout(parent, copies))
        generated = greedily_extracted(before, tokenizer, tokenise(tokenizer, others))
        retain = [target for target, known in zip(others, generated, strict=True) if known]
        reference = perplexity(before, tokenizer, text)
        edited = answers(model, tokenizer, targets, others)
        compared = against(answers(before, tokenizer, targets, others), edited)
        compared |= {f"{name}_unseen": value for name, value in compared.items()} | membership(edited)
        if any(gate.metric.endswith("_parent") for gate in policy.gates):
            of_parent = _scored(before, tokenizer, targets, retain, text)
    scores = _scored(model, tokenizer, targets, retain, text) | compared
    if parent and reference:
        scores["perplexity_ratio"] = perplexity_ratio(scores["perplexity"], reference)
        scores |= since_root_of(h.registry, parent, scores)[0]
    return {"after": scores, "before": of_parent}, _unjudged(found, cut[0])


def _ordinary_text(settings: Settings, version: ModelVersion, given: str | None) -> Corpus | None:
    """The text for perplexity: the one that was named, or the one that the version was registered with here.

    Raises:
        BadInput: it cannot be read.
    """
    if given is not None:
        return Corpus.open(given)
    reference = version.tags.get("revs.held_out", "")
    if not reference.startswith(PREFIX):  # a path in a tag, which anybody may set, is not followed
        return None
    try:
        address = open_store(settings).address(reference)
    except BadInput:  # of another installation
        return None
    try:
        return Corpus.open(address)
    except BadInput:  # its text names the address
        raise BadInput(
            f"the held-out text that {version.uri} was registered with cannot be read: put it back where it was, or "
            "name one with --held-out"
        ) from None


def _scored(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: list[Target],
    retain: list[Target],
    text: list[str],
) -> dict[str, float]:
    import revs

    scores = revs.evaluate(model, tokenizer, targets, retain=retain, text=text, edit="all", seed=SEED).to_dict()
    # Which of the contexts an edit used is not known here: all are asked, and each counts as both kinds.
    return scores | {"extraction_rate_unseen": scores["extraction_rate"], "generality": scores["efficacy"]}


def _parent(registry: Registry, version: ModelVersion) -> ModelVersion | None:
    """The version that this one was made from; None for a base."""
    number = version.tags.get(PARENT)
    return None if number is None else registry.resolve(f"models:/{version.name}/{number}")


def _unjudged(found: Occurrences, contexts: Sequence[Context]) -> tuple[str, ...]:
    """The identifiers that nothing was measured on, by request and number, with the reason."""

    def named(key: Key, why: str) -> str:
        return f"identifier {key[1]} of request {key[0]} was not judged: {why}"

    missing = f"it does not stand in the corpus{found.corpus.reservation}"
    return (
        *(named(entry.key, missing) for entry in found.missing),
        *(named(entry.key, f"it {entry.reason}") for entry in found.refused),
        *dict.fromkeys(named(each.key, each.unprobed) for each in contexts if each.unprobed),
    )
