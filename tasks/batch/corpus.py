"""The corpus of a batch, and the pseudonyms under which its records name it."""

from __future__ import annotations

from functools import partial
from typing import Literal

from infra.batches.records import SurveyedCorpus
from infra.corpus import Corpus, Pseudonym
from infra.keys.vault import Vault
from infra.settings import Settings
from revs.errors import BadInput
from tasks.batch.models import on_record
from tasks.batch.stage import Handles


def pseudonyms(settings: Settings) -> Pseudonym:
    """What stands for the names and digests of corpora in every record of this installation."""
    return partial(Vault.from_settings(settings).pseudonym, kind="corpus")


def corpus_of(h: Handles) -> Corpus:
    """The batch's corpus; what its survey said is not read again as long as the files are the same."""
    return planned_corpus(h, survey=h.workspace.read(SurveyedCorpus))


def planned_corpus(h: Handles, survey: SurveyedCorpus | None = None) -> Corpus:
    """The batch's corpus as its files are now. Its address is in no message: what a task raises is recorded."""
    gone = (
        f"the corpus of batch {h.batch.id} cannot be read any more, or the address on record is wrong: "
        "'revs scan' of it says why; put it right, or name it with --corpus"
    )
    return _opened(h.store.address(h.batch.corpus), gone, survey)


def held_out_text(h: Handles) -> Corpus | None:
    """The held-out text that the batch's model was registered with, if any; its address is in no message either."""
    address = on_record(h, "held_out")
    if address is None:
        return None
    gone = (
        f"the held-out text of batch {h.batch.id} cannot be read any more: put it back where it was when the model "
        "was registered"
    )
    return _opened(address, gone)


def reference_of(h: Handles, what: Literal["corpus", "held_out"]) -> str:
    """The reference under which this installation keeps the address of a text of the batch; it tells nothing itself."""
    address = h.store.address(h.batch.corpus) if what == "corpus" else on_record(h, what)
    assert address is not None  # asked only of a text that was read
    return h.store.keep_address(address)


def _opened(address: str, gone: str, survey: SurveyedCorpus | None = None) -> Corpus:
    try:
        return Corpus.open(address, surveys=survey.shards, sha256=survey.sha256) if survey else Corpus.open(address)
    except BadInput:
        raise BadInput(gone) from None


def keyed_digest(h: Handles, corpus: Corpus) -> str:
    """The corpus' digest as the batch's records have it."""
    return corpus.keyed_digest(pseudonyms(h.settings))
