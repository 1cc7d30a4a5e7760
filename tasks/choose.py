"""Stage 5: which tokens of each secret are the rarest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.settings import Settings
from tasks.material import material
from tasks.records import TargetTokens
from tasks.stage import Handles, handles, stage

if TYPE_CHECKING:
    from torch import Tensor


@stage("choose target tokens")
def choose_target_tokens(batch_id: str, tokens_per_secret: int = 2) -> TargetTokens:
    """Count the tokens of the corpus and of all secrets in it; record which places of each secret are the rarest."""
    h = handles(batch_id)
    record = h.workspace.once("tokens", lambda: _choose(h, tokens_per_secret))
    return TargetTokens(tokens=sum(len(places) for places in record["places"]), secrets=len(record["places"]))


def counts_folder(settings: Settings) -> Path:
    """Where token counts are kept from batch to batch: numbers by token id, under the digest of what was counted."""
    return settings.home / "token-counts"


def _choose(h: Handles, tokens_per_secret: int) -> dict[str, Any]:
    """Of each edited target: the places of its target tokens, how often each token stands in the corpus, and how many
    distinct secrets hold it. Neither the tokens nor their ids.
    """
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    from revs.rarity import holders, kept_counts, ranked
    from revs.targets import tokenise

    m = material(h)
    tokenizer = AutoTokenizer.from_pretrained(h.registry.download(h.registry.resolve(h.batch.source)))
    counts_V = kept_counts(
        tokenizer, lambda: (text for _, text in m.corpus), corpus_digest=m.corpus.digest,
        folder=counts_folder(h.settings),
    )  # fmt: skip
    holders_V = holders(tokenizer, (t.secret.strip() for t in (*m.edit, *m.unseen, *m.protect, *m.measure)))
    ranked_V = ranked(counts_V, holders_V)
    save_file({"counts": ranked_V}, h.workspace.folder / "token_counts.safetensors")
    chosen = tokenise(tokenizer, m.edit, tokens_per_secret=tokens_per_secret, token_counts_V=ranked_V)
    return {
        "tokens_per_secret": tokens_per_secret,
        "places": [target.chosen for target in chosen],
        "counts": [[int(counts_V[target.secret_ids[place]]) for place in target.chosen] for target in chosen],
        "held_by": [[int(holders_V[target.secret_ids[place]]) for place in target.chosen] for target in chosen],
    }


def token_counts(h: Handles) -> Tensor:
    """The order of rarity that `choose_target_tokens` recorded, shape (V,): the smaller, the rarer."""
    from safetensors.torch import load_file

    return load_file(h.workspace.folder / "token_counts.safetensors")["counts"]
