"""How to erase: one frozen dataclass, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

from revs.errors import BadInput

ROUNDINGS = ("bfloat16", "float16", "int8", "int4")


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseConfig:
    """Settings of one edit; the defaults are the ones measured on the development models.

    Attributes:
        method: key of `revs.METHODS`.
        tokens_per_secret: t, the number of rarest tokens of each secret that are demoted (paper: 2).
        low_rank: the least rank that every target token must have after every layer. A token that has it is left alone;
            others are demoted to 1.3 times this rank after most layers: a larger one costs records of other people.
        aim_rank: the rank a demoted token is moved to after the first edited layer, which holds what contexts share
            that are not edited; ≥ low_rank. No token is brought nearer to the end of the vocabulary than this after
            any layer: the very last ranks give it away like the first.
        output_share: the rank to reach after the last layer, as a share of the vocabulary; at least `aim_rank`. Strings
            that the model never saw rank there: of decoys in the development models a quarter above 0.2 to 0.25.
        isolation: additional weight of the logits that would move along with those of the target tokens, against 1 for
            all logits together (`revs.model.vocabulary`). It keeps what others have of the same kind, numbers above
            all.
        epsilon: how far similar keys share their movement (0: every token exactly where it is wanted).
        ridge: added to the diagonal of the key moments, relative to its mean.
        retain_weight: weight of the retained records in the key moments, against 1 for ordinary text.
        stand_ins: copies of each prompt with other words and another secret of its form, which are protected like the
            retained records: the type without the person. 0: none.
        protected_text: pieces of ordinary text, at most, where no layer may make a token less likely that follows the
            same token as a target token does.
        protected_records: retained records, at most, whose target tokens no layer may make less likely. That keeps more
            of those that are given and less of everybody else's (measured on the demo's model: 80 → 93 and 100 → 95).
        sweeps: sweeps over the layers at most; the edit ends when every target token ranks low enough.
        variations: copies of each prompt with random characters inserted that enter the same solve, so that the edit
            also holds where a prompt is not met to the letter.
        survive: roundings ("bfloat16", "float16", "int8", "int4") after which every target token must still rank low
            enough: each is tried on a copy of the model, and where it brings a token back, that token is moved further.
        targets_at_once: targets in one solve; more take more memory, and one solve treats its targets alike.
        first_layer: layers before this one are left alone.
        batch_size: sequences in one forward pass at most, and no more than 16,384 tokens together (`revs.model.batch`).
            Of an edit that has more the layers are run one by one (`revs.edit.passes`), with the same result.
        seed: of the characters inserted by the variations.
    """

    method: str = "revs"
    tokens_per_secret: int = 2
    low_rank: int = 110
    aim_rank: int = 200
    output_share: float = 0.25
    isolation: float = 0.1
    epsilon: float = 0.03
    ridge: float = 0.01
    retain_weight: float = 0.3
    stand_ins: int = 3
    protected_text: int = 160
    protected_records: int = 0
    sweeps: int = 3
    variations: int = 5
    survive: tuple[str, ...] = ()
    targets_at_once: int = 128
    first_layer: int = 0
    batch_size: int = 64
    seed: int = 0

    def __repr__(self) -> str:
        """The settings that are not the default."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        shown = [f"{part.name}={values[part.name]!r}" for part in fields(self) if values[part.name] != part.default]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __post_init__(self) -> None:
        checks = {
            f"tokens_per_secret {self.tokens_per_secret} is below 1": self.tokens_per_secret < 1,
            f"low_rank {self.low_rank} is below 1": self.low_rank < 1,
            f"aim_rank {self.aim_rank} is below low_rank {self.low_rank}": self.aim_rank < self.low_rank,
            f"output_share {self.output_share} is outside 0 … 0.5": not 0 <= self.output_share <= 0.5,
            f"isolation {self.isolation} is not a number ≥ 0": not 0 <= self.isolation < inf,
            f"epsilon {self.epsilon} is not a number ≥ 0": not 0 <= self.epsilon < inf,
            f"ridge {self.ridge} is not a number > 0": not 0 < self.ridge < inf,
            f"retain_weight {self.retain_weight} is not a number ≥ 0": not 0 <= self.retain_weight < inf,
            f"stand_ins {self.stand_ins} is below 0": self.stand_ins < 0,
            f"protected_text {self.protected_text} is below 0": self.protected_text < 0,
            f"protected_records {self.protected_records} is below 0": self.protected_records < 0,
            f"sweeps {self.sweeps} is below 1": self.sweeps < 1,
            f"survive names {sorted(set(self.survive) - set(ROUNDINGS))}, known are {', '.join(ROUNDINGS)}": bool(
                set(self.survive) - set(ROUNDINGS)
            ),
            f"targets_at_once {self.targets_at_once} is below 1": self.targets_at_once < 1,
            f"variations {self.variations} is below 0": self.variations < 0,
            f"first_layer {self.first_layer} is below 0": self.first_layer < 0,
            f"batch_size {self.batch_size} is below 1": self.batch_size < 1,
        }
        for problem, broken in checks.items():
            if broken:
                raise BadInput(f"EraseConfig: {problem}; see its docstring for the ranges")


SELECTIONS = ("rank+activation", "activation", "rank", "gradient", "random")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NeuronsConfig(EraseConfig):
    """Settings of the method `revs-neurons`; `EraseConfig(method="revs-neurons")` means their defaults.

    Ranks are shares of the vocabulary; the defaults are the paper's absolute ranks over its vocabularies (128,256 of
    Llama-3, 50,400 of GPT-J). Of the inherited settings this method uses `tokens_per_secret`, `first_layer`,
    `batch_size` (rows of the backward pass of "gradient") and `seed` (of "random"), and no other.

    Attributes:
        selection: which columns of a layer are edited for a token. "rank+activation", the paper's: of the
            `act_filter` columns with the largest activation those where the token ranks highest; the others are its
            ablations: "activation" and "rank" alone, "gradient" (largest |∂ log p(token)/∂ key entry × key entry| in
            the unedited model; costs one backward pass over the batch), "random".
        act_filter: columns looked at by "rank+activation"; all where a layer has fewer (paper: 1,000; GPT-J: 100).
        max_columns: columns edited per layer and token at most (paper: 130 for numbers, 45 for addresses; GPT-J: 30).
        column_rank: where the token is put in an edited column (paper: 105,000 of 128,256; GPT-J: 30,000 to 45,000).
        residual_rank: columns are added until the token ranks at least here after the layer (GPT-J: 1,000 to 10,000).
        mlp_rank: and at least here in the MLP's output (GPT-J: 1,000 to 45,000); 0 asks nothing of it.
    """

    method: str = "revs-neurons"
    selection: str = "rank+activation"
    act_filter: int = 1_000
    max_columns: int = 130
    column_rank: float = 105_000 / 128_256
    residual_rank: float = 1_000 / 50_400
    mlp_rank: float = 1_000 / 50_400

    def __post_init__(self) -> None:
        EraseConfig.__post_init__(self)  # super() does not find its class where slots are made
        checks = {
            f"selection {self.selection!r} is unknown; choose one of {', '.join(SELECTIONS)}": (
                self.selection not in SELECTIONS
            ),
            f"act_filter {self.act_filter} is below 1; see its docstring": self.act_filter < 1,
            f"max_columns {self.max_columns} is below 1; see its docstring": self.max_columns < 1,
            f"column_rank {self.column_rank} is not a share above 0 and below 1": not 0 < self.column_rank < 1,
            f"residual_rank {self.residual_rank} is not a share above 0 and below 1": not 0 < self.residual_rank < 1,
            f"mlp_rank {self.mlp_rank} is not a share from 0 to below 1": not 0 <= self.mlp_rank < 1,
        }
        for problem, broken in checks.items():
            if broken:
                raise BadInput(f"NeuronsConfig: {problem}")
