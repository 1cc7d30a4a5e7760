"""The records that the stages of a batch hand on to one another: the schema of the pipeline, stage by stage.

    record             stage writes it                 holds
    SearchedShard      locate (a worker may)           where the identifiers stand in one shard
    SurveyedCorpus     locate                          what the corpus holds, so that nobody reads it again for that
    Occurrences        locate                          where the identifiers stand, which are nowhere, which not sought
    Detections         detect                          what the detector sees there and near
    Targets            probe                           what the model knows; what is edited and what is kept
    Tokens             choose                          the target tokens of each secret, by place
    Edit               edit, once for each setting     the edited checkpoint and how it came about
    ScoresBefore       measure                         scores of the champion
    ScoresAfter        measure, for each setting       scores of the candidate
    Gates              check gates, for each setting   the verdict
    RegisteredVersion  register                        the candidate's version
    PromotedVersion    promote                         that the alias was moved

Ids, places, numbers and digests only: never an identifier, a prompt or a token.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Literal

from pydantic import JsonValue

from infra.batches.record import Escaped, Part, Record, SurveyOfShard
from infra.batches.scored import Scored
from infra.corpus import Unread, unread_summary
from infra.gates.policy import GateResult, Verdict
from infra.gates.policy_file import Action, Need
from infra.search.occurrences import Occurrence
from infra.search.proposals import Proposal

Key = tuple[str, int]
"""An identifier: the id of its request, and its number there, from 0."""
AskedFrom = Literal["row", "row before", "beginning of text"]
Use = Literal["edit", "unseen", "none", "copy", "unprobed"]
Standing = Literal["memorised", "exposed", "undecided", "not probed", "not memorised"]
"""What the probes say of a secret."""


class SearchedShard(Record):
    """Where the batch's identifiers stand in one shard, and some of other people's; rows count from its beginning."""

    name: ClassVar[str] = "shard-{:06d}"

    survey: SurveyOfShard
    occurrences: tuple[Occurrence, ...]
    others: tuple[Occurrence, ...]


class SurveyedCorpus(Record):
    """What the corpus holds (`infra.corpus.Survey`)."""

    name: ClassVar[str] = "survey"

    shards: tuple[SurveyOfShard, ...]
    sha256: Escaped[dict[str, str]]
    """By file."""


class CorpusRead(Part):
    """The corpus under its pseudonyms, and what of it was not read."""

    name: str
    digest: str
    """Keyed: to tell whether the corpus is still the same."""
    rows: int
    ignored: tuple[str, ...]
    unread: tuple[Unread, ...]

    @property
    def left_out(self) -> str:
        """How much of it could not be read; "" where all was."""
        return unread_summary(self.unread)

    @property
    def reservation(self) -> str:
        """What must follow when something is said not to stand in it; "" where all of it was read."""
        return f", in what could be read of it ({self.left_out} could not be)" if self.unread else ""


class Named(Part):
    """An identifier, by its request and its number there, from 0."""

    request_id: str
    identifier: int

    @property
    def key(self) -> Key:
        return self.request_id, self.identifier


class Refused(Named):
    """An identifier that cannot be sought; the reason is what follows "identifier 3" in a sentence."""

    reason: str


class Occurrences(Record):
    """Where the batch's identifiers stand in the corpus, and identifiers of other people that were sampled there."""

    name: ClassVar[str] = "occurrences"

    corpus: CorpusRead
    occurrences: tuple[Occurrence, ...]
    others: tuple[Occurrence, ...]
    """They belong to no request and stand in other rows."""
    missing: tuple[Named, ...]
    refused: tuple[Refused, ...]

    @property
    def why_refused(self) -> dict[Key, str]:
        """The reason of each identifier that cannot be sought."""
        return {entry.key: entry.reason for entry in self.refused}


class Seen(Part):
    """What the detector sees at an occurrence: a type and a score from 0 to 1, or no type."""

    type: str | None
    score: float


class Detections(Record):
    """What the detector sees at each occurrence, in their order, and what it proposes because it stands near them."""

    name: ClassVar[str] = "detections"

    seen: tuple[Seen, ...]
    proposed: tuple[Proposal, ...]

    @property
    def unconfirmed(self) -> int:
        """At how many occurrences it sees nothing."""
        return sum(seen.type is None for seen in self.seen)


class Context(Part):
    """An occurrence with the prompt that it is asked for with.

    In the text of its row `[begin:border]` is the prompt and `[border:end]` the secret, which is judged up to `until`.
    Where it is asked for from the row before, these count from the beginning of that row: it and `joined_by` take
    `shift` characters.
    """

    occurrence: Occurrence
    asked_from: AskedFrom
    begin: int
    border: int
    until: int
    shift: int = 0
    joined_by: str = ""
    unprobed: str | None = None
    """Why it cannot be put to the model."""

    @property
    def key(self) -> Key:
        """Whose it is."""
        return self.occurrence.request_id, self.occurrence.identifier


class Greedy(Part):
    """What greedy decoding and the loss tell of a context: tokens, percent, nats."""

    prompt_tokens: int
    secret_tokens: int
    memorised: bool
    extraction_strength: float
    loss: float


class AmongDecoys(Part):
    """Where a secret that greedy decoding does not give stands among decoys, and what all probes say together."""

    quantile: float | None
    said_no: tuple[str, ...]
    """The probes that were a clear no."""
    exposed: bool
    undecided: bool


class PlannedContext(Part):
    """A context of the batch, what probing found, and what becomes of it.

    "edit" or "unseen" (kept to measure on) where its secret is known in any context or without one, "none" where in
    none; "copy" of another of its group that was probed; "unprobed" where it could not be put to the model.
    """

    id: str
    context: Context
    use: Use
    group: int | None = None
    """Of near-duplicate contexts; numbered through the batch."""
    greedy: Greedy | None = None
    decoys: AmongDecoys | None = None

    @property
    def memorised(self) -> bool:
        return self.greedy is not None and self.greedy.memorised

    @property
    def exposed(self) -> bool:
        return self.decoys is not None and self.decoys.exposed


class WithoutCorpus(Named):
    """What the model gives of an identifier under the usual openings of its type, without the corpus."""

    openings: int
    said_no: dict[str, int]
    """By probe, at how many of the openings it was a clear no."""
    verdict: Standing


class OtherContext(Part):
    """Somebody else's identifier: protected by the edit, or kept aside to measure what it costs."""

    context: Context
    greedy: Greedy
    part: Literal["protect", "measure"]

    @property
    def memorised(self) -> bool:
        return self.greedy.memorised


class Targets(Record):
    """What the model knows of the batch's identifiers, and what is done about it."""

    name: ClassVar[str] = "targets"

    targets: tuple[PlannedContext, ...]
    without_corpus: tuple[WithoutCorpus, ...]
    others: tuple[OtherContext, ...]
    ordinary_rows: tuple[int, ...]
    """Rows of the corpus that the edit holds still."""
    held_out_rows: tuple[int, ...]
    """Rows for the perplexity."""

    def __str__(self) -> str:
        uses = self.uses
        more = f" and {self.exposed} exposed" if self.exposed else ""
        unprobed = f"; {uses['unprobed']} could not be probed" if uses["unprobed"] else ""
        return (
            f"{self.memorised} of {len(self.targets)} memorised{more}; {uses['edit']} to edit, {uses['unseen']} kept "
            f"unseen{unprobed}"
        )

    def of_use(self, use: Use) -> list[PlannedContext]:
        """The contexts of one use."""
        return [target for target in self.targets if target.use == use]

    @property
    def uses(self) -> Counter[str]:
        """How many contexts have each use."""
        return Counter(target.use for target in self.targets)

    @property
    def memorised(self) -> int:
        return sum(target.memorised for target in self.targets)

    @property
    def exposed(self) -> int:
        """How many are exposed and not memorised."""
        return sum(target.exposed and not target.memorised for target in self.targets)

    @property
    def retained(self) -> int:
        """How many of other people's are memorised."""
        return sum(other.memorised for other in self.others)


class Tokens(Record):
    """Of each edited context: the places of its target tokens, how often the corpus has each, how many secrets do."""

    name: ClassVar[str] = "tokens"

    tokens_per_secret: int
    """At most; fewer where a secret has fewer."""
    places: tuple[tuple[int, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    held_by: tuple[tuple[int, ...], ...]


class EditedToken(Part):
    """What became of one target token: numbers, ranks from 0."""

    target: str
    """Id of a `PlannedContext`."""
    position: int
    token_count: int
    rank_before: int
    rank_after: int
    wanted: int
    stopped: str


class Edit(Record):
    """One attempt: the checkpoint in subfolder `folder`, and how it came about."""

    name: ClassVar[str] = "edit-{}"

    strength: str
    folder: str
    method: str
    config: dict[str, JsonValue]
    seed: int
    seconds: float
    sweeps: int
    layers: tuple[str, ...]
    tokens: tuple[EditedToken, ...]
    weights_before: str
    weights_after: str


class ScoresBefore(Record):
    """The champion, and a model that never saw the corpus, where there is one."""

    name: ClassVar[str] = "scores-before"

    version: Literal[2] = 2  # type: ignore[assignment]  # mypy refuses a subclass another literal; the reader of records needs it
    champion: Scored
    never_trained: Scored | None = None


class ScoresAfter(Record):
    """The candidate of one attempt."""

    name: ClassVar[str] = "scores-{}"

    version: Literal[2] = 2  # type: ignore[assignment]  # mypy refuses a subclass another literal; the reader of records needs it
    candidate: Scored

    @property
    def memorised(self) -> int:
        """How many contexts still give their secret."""
        found = self.candidate
        return sum(found.extracted) + sum(found.extracted_unseen) + sum(found.extracted_other)


class Bounds(Part):
    """A gate as the policy has it; numbers stay as they were written, whole or not."""

    low: int | float | None
    high: int | float | None
    need: Need
    action: Action
    guards: str = ""


class Gates(Record):
    """How the gates judged one attempt."""

    name: ClassVar[str] = "gates-{}"

    version: Literal[2] = 2  # type: ignore[assignment]  # mypy refuses a subclass another literal; the reader of records needs it
    gates: tuple[GateResult, ...]
    policy: dict[str, Bounds]
    verdict: Verdict
    insufficient: tuple[str, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of those that refused it; what only warns refuses nothing."""
        return tuple(gate.name for gate in self.gates if not gate.passed and gate.action == "block")


class RegisteredVersion(Record):
    """The version under which the candidate stands in the registry."""

    name: ClassVar[str] = "registered"

    model: str
    number: str

    def __str__(self) -> str:
        return f"{self.model} version {self.number}"


class PromotedVersion(Record):
    """The version that the champion alias was moved to."""

    name: ClassVar[str] = "promoted"

    number: str
