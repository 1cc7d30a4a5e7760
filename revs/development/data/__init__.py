"""Data sets, each with a card and a digest: invented records to erase, ordinary text to measure language quality with.

```python
from revs.development.data import DATASETS
data = DATASETS["ssn-sentences"](seed=1)
data.card, data.digest, data.dataset()   # -> datasets.Dataset
```
One file a data set, all of the same shape: `NAME`, and `load(...) -> Data`.
"""

from __future__ import annotations

from collections.abc import Callable

from revs.development.data import docstrings, emails_in_web_text, jsonl, ssn_sentences, urls_in_web_text, wiki_10k
from revs.development.data.base import Card, Data

DATASETS: dict[str, Callable[..., Data]] = {
    ssn_sentences.NAME: ssn_sentences.load,
    emails_in_web_text.NAME: emails_in_web_text.load,
    urls_in_web_text.NAME: urls_in_web_text.load,
    docstrings.NAME: docstrings.load,
    wiki_10k.NAME: wiki_10k.load,
    jsonl.NAME: jsonl.load,
}

__all__ = ["DATASETS", "Card", "Data"]
