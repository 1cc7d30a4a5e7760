"""How to erase: frozen dataclasses, checked when they are made."""

from __future__ import annotations

import reprlib
from dataclasses import fields
from typing import Annotated, Any, Literal, NoReturn, TypeVar, cast, dataclass_transform, get_args

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from revs.errors import BadInput

Rounding = Literal["bfloat16", "float16", "int8", "int4"]
ROUNDINGS: tuple[str, ...] = get_args(Rounding)

Count = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(kind: type[T]) -> type[T]:
    """Make a class of settings: a frozen dataclass whose fields check their ranges when an instance is made.

    Raises:
        BadInput: of the instance: a value is out of range; the message names the class, the field and the value.
    """
    # Numbers are finite; whatever else a class asks for stands in its __post_init__.
    checks = ConfigDict(allow_inf_nan=False, extra="forbid")
    made: Any = dataclass(frozen=True, slots=True, kw_only=True, repr=False, config=checks)(kind)
    check = made.__init__

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        try:
            check(self, *values, **named)
        except ValidationError as error:
            _refuse(kind.__name__, error)

    made.__init__ = __init__
    return cast("type[T]", made)


def _refuse(name: str, error: ValidationError) -> NoReturn:
    """Raise the first of the faults in one line, as this project's own error."""
    fault = error.errors(include_url=False)[0]
    told = fault.get("ctx", {}).get("error")
    if isinstance(told, BadInput):  # of a class's own __post_init__, which tells all
        raise told from None
    field = ".".join(map(str, fault["loc"]))
    if fault["type"].startswith("unexpected_"):
        raise TypeError(f"{name}: {fault['msg'].lower()} {field}") from None
    problem = str(told) if told else fault["msg"][0].lower() + fault["msg"][1:]
    shown = reprlib.repr(fault["input"])
    raise BadInput(f"{name}: {field} {shown}: {problem}; see its docstring") from None


@settings
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
        replayed: continuations that the model generates from the beginnings of the prompts; they are held and protected
            like retained records (`revs.methods.replay`). 0: none.
        protected_text: pieces of ordinary text, at most, where no layer may make a token less likely that follows the
            same token as a target token does.
        protected_records: records of others, at most, whose tokens pull back where the same token is moved for a target
            (`revs.edit.constraints`); a layer cannot always tell the two apart, so that what is erased prevails.
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
    tokens_per_secret: Count = 2
    low_rank: Count = 110
    aim_rank: Count = 200
    output_share: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    isolation: NotNegative = 0.1
    epsilon: NotNegative = 0.03
    ridge: Positive = 0.01
    retain_weight: NotNegative = 0.3
    stand_ins: Number = 3
    replayed: Number = 0
    protected_text: Number = 160
    protected_records: Number = 0
    sweeps: Count = 3
    variations: Number = 5
    survive: tuple[Rounding, ...] = ()
    targets_at_once: Count = 128
    first_layer: Number = 0
    batch_size: Count = 64
    seed: int = 0

    def __repr__(self) -> str:
        """The settings that are not the default."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        shown = [f"{part.name}={values[part.name]!r}" for part in fields(self) if values[part.name] != part.default]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __post_init__(self) -> None:
        if self.aim_rank < self.low_rank:
            raise BadInput(f"EraseConfig: aim_rank {self.aim_rank} is below low_rank {self.low_rank}; raise it")


@settings
class ReferenceConfig(EraseConfig):
    """Settings of the method `revs-reference`; `EraseConfig(method="revs-reference")` means their defaults.

    All tokens of a secret go to where they would stand had the model never seen the person (`revs.edit.reference`). Of
    the inherited settings it does not use `tokens_per_secret`, `low_rank`, `aim_rank` and `output_share`, and neither
    `stand_ins` nor `variations`, in whose place `frames` stand.

    Attributes:
        contexts: contexts of nobody in which the reference of each token is read.
        slack: nats of log odds by which a token may stand above its reference.
        frames: frames of other people into which each person is put; these prompts enter the same solve, so that the
            edit also holds where a person stands in other words.
        hold_form: hold what else contexts of nobody expect where a token is moved, so that a number can still stand
            where one stood; for tokenizers that write digits one by one (docs/settings.md).
    """

    method: str = "revs-reference"
    contexts: Count = 8
    slack: NotNegative = 0.3
    frames: Number = 2
    hold_form: bool = False
    replayed: Number = 600
    protected_records: Number = 300
    isolation: NotNegative = 0.0
    protected_text: Number = 500


Selection = Literal["rank+activation", "activation", "rank", "gradient", "random"]


@settings
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
    selection: Selection = "rank+activation"
    act_filter: Count = 1_000
    max_columns: Count = 130
    column_rank: Share = 105_000 / 128_256
    residual_rank: Share = 1_000 / 50_400
    mlp_rank: Annotated[float, Field(ge=0, lt=1)] = 1_000 / 50_400
