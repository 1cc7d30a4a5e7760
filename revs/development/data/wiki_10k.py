"""Ten thousand Wikipedia articles from the Hugging Face hub; where the hub cannot be reached, docstrings instead."""

from __future__ import annotations

from dataclasses import replace

from revs.development.data import docstrings
from revs.development.data.base import Card, Data
from revs.errors import BadInput

NAME = "wiki-10k"


def load(*, hub_id: str = "NeelNanda/wiki-10k", rows: int = 10_000, fallback_rows: int = 1000) -> Data:
    """The first `rows` articles of the training split of `hub_id`, column `text`.

    Where the hub cannot be reached and the set is not in the local cache, `fallback_rows` docstrings stand in, and the
    card says so: `fallback` is true, and `what` names the reason. A perplexity over them is not one over Wikipedia.

    Raises:
        BadInput: `rows` is below 1, or the hub answers that there is no such set or it has no column `text`.
    """
    if rows < 1:
        raise BadInput(f"rows {rows} is below 1; ask for at least one")
    try:
        texts = _articles(hub_id, rows)
    except ConnectionError as error:
        return _stand_in(hub_id, str(error), fallback_rows)
    found = tuple({"text": text} for text in texts)
    card = Card(
        name=NAME,
        what="Articles of the English Wikipedia: ordinary text for perplexity.",
        source=f"https://huggingface.co/datasets/{hub_id}",
        licence="CC BY-SA (Wikipedia)",
        size=len(found),
        columns=("text",),
        invented="not invented",
    )
    return Data(card=card, rows=found)


def _articles(hub_id: str, rows: int) -> list[str]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    try:
        articles = load_dataset(hub_id, split="train")
    except (DatasetNotFoundError, ValueError) as error:
        raise BadInput(f"{hub_id} cannot be loaded from the hub ({type(error).__name__}); check the id") from None
    if "text" not in articles.column_names:
        raise BadInput(f"{hub_id} has no column 'text' but {', '.join(articles.column_names)}; choose another set")
    return list(articles.select(range(min(rows, len(articles))))["text"])


def _stand_in(hub_id: str, reason: str, rows: int) -> Data:
    data = docstrings.load(rows=rows)
    what = f"Not Wikipedia, docstrings stand in: {' '.join(reason.split())}. {data.card.what}"
    return replace(data, card=replace(data.card, name=NAME, what=what, fallback=True))
