"""Stages 4 and 5: what the model memorised of it, which contexts are edited, and which tokens are the rarest."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.corpus import Corpus
from revs.errors import OperationFailed
from tasks.records import Probed, TargetTokens
from tasks.stage import Handles, handles, stage

if TYPE_CHECKING:
    from torch import Tensor

    from revs.targets import Target

# Of the contexts of a secret that has three or more: kept from the edit, to measure generality on.
UNSEEN_SHARE = 0.5
MEASURED_SHARE = 0.25  # of the retained secrets: kept from the edit, to measure specificity
ORDINARY_ROWS, HELD_OUT_ROWS = 400, 200
SEED = 0


@stage("probe memorisation")
def probe_memorisation(batch_id: str) -> Probed:
    """Put every prompt to the champion, keep which secrets it completes, and plan what is edited and what is not.

    All contexts of a secret that is memorised in any of them are targets. Of others' identifiers, those that the
    champion completes are what it must still complete afterwards.
    """
    h = handles(batch_id)
    record = h.workspace.once("targets", lambda: _probe(h))
    targets = record["targets"]
    return Probed(
        found=len(targets),
        memorised=sum(target["memorised"] for target in targets),
        edited=sum(target["use"] == "edit" for target in targets),
        unseen=sum(target["use"] == "unseen" for target in targets),
        retained=sum(other["memorised"] for other in record["others"]),
    )


def _probe(h: Handles) -> dict[str, Any]:
    import revs
    from revs.architectures import context_length
    from revs.extraction import greedily_extracted
    from revs.targets import tokenise

    model, tokenizer = revs.load(h.registry.download(h.registry.resolve(h.batch.source)), dtype="auto")
    corpus = Corpus.open(h.batch.corpus)
    context = context_length(model)

    def probed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that have a prompt, each with whether its secret is memorised."""
        usable = [row for row in rows if target_of(corpus, row).prompt.strip()]
        tokenised = tokenise(tokenizer, [target_of(corpus, row) for row in usable], context=context)
        said = greedily_extracted(model, tokenizer, tokenised)
        return [{**row, "memorised": flag} for row, flag in zip(usable, said, strict=True)]

    occurrences, others = h.workspace.require("occurrences")["occurrences"], h.workspace.require("detections")["others"]
    targets = _plan(probed(occurrences), random.Random(SEED))
    return {
        "targets": targets,
        "without_prompt": len(occurrences) - len(targets),
        "others": _parts(corpus, probed(others), random.Random(SEED)),
        **_text_rows(corpus, {row["row"] for row in (*occurrences, *others)}, random.Random(SEED)),
    }


def target_of(corpus: Corpus, row: dict[str, Any]) -> Target:
    from revs.targets import Target

    return Target.at(corpus.text(row["row"]), row["start"], row["end"])


def _plan(targets: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Decide the use of every target: "edit", "unseen", or "none" where the secret is memorised nowhere."""
    by_secret: dict[tuple[str, int], list[int]] = defaultdict(list)
    for place, target in enumerate(targets):
        by_secret[target["request_id"], target["identifier"]].append(place)
    use = ["none"] * len(targets)
    for places in by_secret.values():
        if not any(targets[place]["memorised"] for place in places):
            continue
        kept = rng.sample(places, int(UNSEEN_SHARE * len(places))) if len(places) >= 3 else []
        for place in places:
            use[place] = "unseen" if place in kept else "edit"
    return [{**target, "id": f"T{n:04d}", "use": use[n]} for n, target in enumerate(targets)]


def _parts(corpus: Corpus, others: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Split others' identifiers by secret: what the edit protects, and what specificity is measured on.

    Identifiers that are not memorised cannot be lost; all are protected, since they show the type without a secret.
    """
    by_secret: dict[str, list[int]] = defaultdict(list)
    for place, other in enumerate(others):
        if other["memorised"]:
            by_secret[corpus.text(other["row"])[other["start"] : other["end"]]].append(place)
    secrets = sorted(by_secret)
    measured = rng.sample(secrets, max(1, round(MEASURED_SHARE * len(secrets)))) if len(secrets) > 1 else secrets
    places = {place for secret in measured for place in by_secret[secret]}
    return [{**other, "part": "measure" if place in places else "protect"} for place, other in enumerate(others)]


def _text_rows(corpus: Corpus, taken: set[int], rng: random.Random) -> dict[str, Any]:
    """Rows without any known identifier: some to hold still during the edit, others to measure perplexity on."""
    free = [row for row in range(len(corpus)) if row not in taken]
    rows = rng.sample(free, min(ORDINARY_ROWS + HELD_OUT_ROWS, len(free)))
    cut = len(rows) * ORDINARY_ROWS // (ORDINARY_ROWS + HELD_OUT_ROWS)
    return {"ordinary_rows": rows[:cut], "held_out_rows": rows[cut:]}


@dataclass(frozen=True, slots=True)
class Material:
    """What the edit and the measurements work on, rebuilt from the corpus and the recorded places; memory only."""

    edit: list[Target]
    edit_ids: list[str]
    unseen: list[Target]
    unmemorised: list[Target]
    protect: list[Target]
    measure: list[Target]
    ordinary: list[str]
    held_out: list[str]
    corpus: Corpus

    def __repr__(self) -> str:
        return f"Material({len(self.edit)} to edit)"


def material(h: Handles) -> Material:
    """Rebuild targets and texts of a probed batch."""
    record, corpus = h.workspace.require("targets"), Corpus.open(h.batch.corpus)
    if corpus.digest != h.workspace.require("occurrences")["corpus"]["digest"]:
        raise OperationFailed(
            f"the corpus {h.batch.corpus} changed while batch {h.batch.id} was under way, so the recorded places no "
            "longer hold; nothing was promoted: start the flow again, it looks anew"
        )
    held_out = h.registry.resolve(h.batch.source).tags.get("revs.held_out")

    def those(rows: Sequence[dict[str, Any]], key: str, value: str) -> list[Target]:
        return [target_of(corpus, row) for row in rows if row[key] == value]

    return Material(
        edit=those(record["targets"], "use", "edit"),
        edit_ids=[row["id"] for row in record["targets"] if row["use"] == "edit"],
        unseen=those(record["targets"], "use", "unseen"),
        unmemorised=those(record["targets"], "use", "none"),
        protect=those(record["others"], "part", "protect"),
        measure=those(record["others"], "part", "measure"),
        ordinary=[corpus.text(row) for row in record["ordinary_rows"]],
        held_out=[text for _, text in Corpus.open(held_out)]
        if held_out
        else [corpus.text(row) for row in record["held_out_rows"]],
        corpus=corpus,
    )


@stage("choose target tokens")
def choose_target_tokens(batch_id: str) -> TargetTokens:
    """Count the tokens of the corpus and of all secrets in it; record which places of each secret are the rarest."""
    h = handles(batch_id)
    record = h.workspace.once("tokens", lambda: _choose(h))
    return TargetTokens(tokens=sum(len(places) for places in record["places"]), secrets=len(record["places"]))


def _choose(h: Handles) -> dict[str, Any]:
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    from revs.rarity import count_tokens
    from revs.targets import tokenise

    m = material(h)
    tokenizer = AutoTokenizer.from_pretrained(h.registry.download(h.registry.resolve(h.batch.source)))
    secrets = [target.secret.strip() for target in (*m.edit, *m.unseen, *m.protect, *m.measure)]
    counts_V = count_tokens(tokenizer, [text for _, text in m.corpus], secrets=secrets)
    save_file({"counts": counts_V}, h.workspace.folder / "token_counts.safetensors")
    return {"places": [target.chosen for target in tokenise(tokenizer, m.edit, token_counts_V=counts_V)]}


def token_counts(h: Handles) -> Tensor:
    """The counts that `choose_target_tokens` recorded, shape (V,)."""
    from safetensors.torch import load_file

    return load_file(h.workspace.folder / "token_counts.safetensors")["counts"]
