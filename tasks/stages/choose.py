"""Stage 5: which tokens of each secret are edited, and how rare each is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from infra.batches.records import Tokens
from infra.corpus import Corpus, Shard, ShardSurvey
from infra.settings import Settings
from tasks.batch.corpus import corpus_of
from tasks.batch.material import material, token_counts_file
from tasks.batch.models import champion_folder
from tasks.batch.stage import Handles, handles, stage

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


@stage("choose target tokens")
def choose_target_tokens(batch_id: str) -> str:
    """Count the tokens of the corpus and of all secrets in it; record which places of each secret are edited.

    Erasing to the reference edits all, erasing to fixed ranks the rarest.
    """
    from revs.config import EraseConfig

    h = handles(batch_id)
    tokens_per_secret = EraseConfig().tokens_per_secret if h.settings.method == "revs" else None
    record = h.workspace.once(Tokens, lambda: _choose(h, tokens_per_secret))
    return f"{sum(map(len, record.places))} target tokens of {len(record.places)} targets"


def counts_folder(settings: Settings) -> Path:
    """Where token counts are kept from batch to batch: numbers by token id, under the digest of what was counted."""
    return settings.home / "token-counts"


@stage("count tokens of shard")
def count_shard(batch_id: str, shard: Shard) -> int:
    """Count the tokens of one shard of the batch's corpus, and keep the counts; how many tokens."""
    h = handles(batch_id, worker=True)
    corpus = corpus_of(h)
    return int(_counts(h, corpus, corpus.survey().shards[shard.number], _tokenizer(h)).sum())


def uncounted_shards(batch_id: str) -> list[Shard]:
    """The shards of the batch's corpus whose tokens were not counted yet, in this batch or another."""
    h = handles(batch_id)
    tokenizer, surveys = _tokenizer(h), corpus_of(h).survey().shards
    return [survey.shard for survey in surveys if not _kept_in(h, survey, tokenizer).is_file()]


def _tokenizer(h: Handles) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(champion_folder(h))


def _counts(h: Handles, corpus: Corpus, survey: ShardSurvey, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Counts of token ids in one shard, shape (V,), from where they are kept or counted now."""
    from revs.targets.rarity import kept_counts

    def texts() -> Iterator[str]:
        return (text for batch in corpus.read(survey.shard) for _, text in batch)

    return kept_counts(tokenizer, texts, corpus_digest=survey.digest, folder=counts_folder(h.settings))


def _kept_in(h: Handles, survey: ShardSurvey, tokenizer: PreTrainedTokenizerBase) -> Path:
    from revs.targets.rarity import counts_file

    return counts_file(tokenizer, corpus_digest=survey.digest, folder=counts_folder(h.settings))


def _choose(h: Handles, tokens_per_secret: int | None) -> Tokens:
    """Of each edited target: the places of its target tokens, how often each token stands in the corpus, and how many
    distinct secrets hold it. Neither the tokens nor their ids.
    """
    import torch
    from safetensors.torch import save_file

    from revs.targets.rarity import holders, ranked
    from revs.targets.tokenize import tokenise

    m, tokenizer = material(h), _tokenizer(h)
    counts_V = torch.stack([_counts(h, m.corpus, shard, tokenizer) for shard in m.corpus.survey().shards]).sum(0)
    holders_V = holders(tokenizer, (t.secret.strip() for t in (*m.edit, *m.unseen, *m.protect, *m.measure)))
    ranked_V = ranked(counts_V, holders_V)
    save_file({"counts": ranked_V}, token_counts_file(h))
    chosen = tokenise(tokenizer, m.edit, tokens_per_secret=tokens_per_secret, token_counts_V=ranked_V)
    places = [[(target, place) for place in target.chosen] for target in chosen]
    return Tokens(
        tokens_per_secret=max(map(len, places), default=0),
        places=tuple(tuple(place for _, place in some) for some in places),
        counts=tuple(tuple(int(counts_V[t.secret_ids[place]]) for t, place in some) for some in places),
        held_by=tuple(tuple(int(holders_V[t.secret_ids[place]]) for t, place in some) for some in places),
    )
