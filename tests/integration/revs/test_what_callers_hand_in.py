"""What people hand to the library: iterators, single texts, wrapped models, `no_grad`, long rotary scales."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

import revs
from revs.discover.exposure import decoy_places
from revs.errors import BadInput
from revs.evaluation.attacks import ATTACKS
from revs.evaluation.decoding import answers
from revs.evaluation.ranks import read
from revs.evaluation.teacher_forcing import teacher_forced
from revs.model.families import context_length
from revs.targets.target import Target
from revs.targets.tokenize import tokenise

K = 20
SETTINGS = revs.EraseConfig(low_rank=40, aim_rank=60)
PROMPT, SECRET = "An invented record of Wim Ode lists", " 440-18-2907"


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the check of types that tests have and users have not."""
    from jaxtyping import config

    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def erased(model: Any, tokenizer: Any, targets: Any, **options: Any) -> dict[str, torch.Tensor]:
    """The weights after an edit of a copy."""
    edited = copy.deepcopy(model)
    revs.erase(edited, tokenizer, targets, config=SETTINGS, **options)
    return dict(edited.state_dict())


def test_what_gives_targets_and_texts_one_by_one_is_as_good_as_a_list(
    shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    def given(way: Callable[[Any], Any]) -> dict[str, Any]:
        return {"retain": way(people[4:]), "text": way(ordinary)}

    edits = [erased(shared_model, tokenizer, way(people[:2]), **given(way)) for way in (list, iter)]
    assert all(torch.equal(edits[0][name], edits[1][name]) for name in edits[0])
    scores = [
        revs.evaluate(
            shared_model, tokenizer, way(people[:2]), unseen=way(people[2:3]), other=way(people[3:4]), k=K,
            metrics=way(["generality", "specificity", "extraction_rate_other", "perplexity"]), **given(way),
        ).to_dict()
        for way in (list, iter)
    ]  # fmt: skip
    assert scores[0] == scores[1] and len(scores[0]) == 4


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"text": "One text, not a list of them."}, "text is a single str; give a list of texts"),
    ({"text": None}, "text is a single NoneType; give a list of texts"),
    ({"text": ["a", None]}, r"text holds a NoneType \(number 1\)"),
    ({"targets": Target(prompt=PROMPT, secret=SECRET)}, "targets is a single Target; give a list of revs.Target"),
    ({"targets": [SECRET]}, r"targets holds a str \(number 0\); give a list of revs.Target"),
    ({"targets": [(PROMPT, SECRET)]}, "targets holds a tuple"),
    ({"retain": None}, "retain is a single NoneType"),
    ({"token_counts_V": torch.ones(3, dtype=torch.int64)}, "token_counts_V has 3 counts, but the tokenizer gives"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("given", "message"), WRONG, ids=[row[1][:40] for row in WRONG])
def test_what_is_no_list_of_targets_or_texts_is_refused_by_its_type(
    given: dict[str, Any], message: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    arguments = {"targets": people[:2], **given}
    for call in (revs.erase, revs.evaluate):
        with pytest.raises(BadInput, match=message) as caught:
            call(trained_models["llama"], tokenizer, **arguments, **({"k": K} if call is revs.evaluate else {}))
        assert SECRET not in str(caught.value) and PROMPT not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": "efficacy"}, "metrics is a single str"),
        ({"batch_size": 0}, "batch_size 0 is below 1"),
    ],
)
def test_an_evaluation_that_would_measure_nothing_is_refused(
    given: dict[str, Any], message: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    with pytest.raises(BadInput, match=message):
        revs.evaluate(trained_models["llama"], tokenizer, people[:1], k=K, **given)


@pytest.mark.usefixtures("unchecked")
def test_settings_and_secrets_of_another_type_are_refused(
    trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    wrong: Any = {"method": "revs"}
    with pytest.raises(BadInput, match=r"config is a dict; give a revs\.EraseConfig"):
        revs.erase(trained_models["llama"], tokenizer, people[:1], config=wrong)
    number: Any = 440182907
    with pytest.raises(BadInput, match="the secret of a target is a int; give it as text") as caught:
        Target(prompt=PROMPT, secret=number)
    assert str(number) not in str(caught.value)


class Quantised(torch.nn.Module):
    """A layer as quantisation libraries make them: integers, and no `weight`."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.register_buffer("qweight", (linear.weight * 100).to(torch.int8))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden @ (self.qweight.to(hidden) / 100).T


def quantised(model: Any) -> Any:
    for layer in model.model.layers:
        layer.mlp.down_proj = Quantised(layer.mlp.down_proj)
    return model


def reparametrised(model: Any) -> Any:
    torch.nn.utils.parametrizations.weight_norm(model.model.layers[1].mlp.down_proj)
    return model


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (quantised, "down_proj is a Quantised, not a layer with a plain weight"),
        (reparametrised, "down_proj is a Parametrized"),
        (torch.nn.DataParallel, "a DataParallel is no causal LM of transformers; give the model itself"),
    ],
)
def test_a_model_whose_weights_cannot_be_reached_is_refused(
    wrap: Callable[[Any], Any], message: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    model = wrap(copy.deepcopy(trained_models["llama"]))
    with pytest.raises(BadInput, match=message):
        revs.erase(model, tokenizer, people[:1], config=SETTINGS)
    with pytest.raises(BadInput, match=message):
        revs.evaluate(model, tokenizer, people[:1], k=K)


def test_a_weight_that_two_layers_share_is_refused_before_anything_is_touched(
    trained_models: dict[str, Any], tokenizer: Any, people: list[Target], digests: Callable[[Any], dict[str, str]]
) -> None:
    model = copy.deepcopy(trained_models["llama"])
    first, second = (layer.mlp.down_proj for layer in model.model.layers[:2])
    second.weight = first.weight
    before = digests(model)
    with pytest.raises(BadInput, match=r"layers\.1\.mlp\.down_proj\.weight is the weight of another layer too"):
        revs.erase(model, tokenizer, people[:1], config=SETTINGS)
    assert digests(model) == before


@pytest.mark.parametrize(
    "error", [ValueError("a shape"), IndexError("index out of range"), OSError("no room"), KeyError("x")]
)
def test_whatever_fails_in_an_attack_takes_no_finished_figure_with_it(
    error: Exception, trained_models: dict[str, Any], tokenizer: Any, people: list[Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def run(_examination: Any) -> Any:
        raise error

    monkeypatch.setitem(ATTACKS, "shortened", replace(ATTACKS["shortened"], run=run))
    scores = revs.evaluate(trained_models["llama"], tokenizer, people[:1], k=K, metrics=["efficacy", "shortened"])
    assert set(scores.to_dict()) == {"efficacy"} and "it failed" in scores.gaps["shortened"]


def test_an_original_with_another_vocabulary_costs_the_difference_attack_alone(
    trained_models: dict[str, Any], new_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    scores = revs.evaluate(
        trained_models["llama"], tokenizer, people[:1], k=K, metrics=["efficacy", "difference"],
        original=new_model("gptj", vocabulary=300),
    )  # fmt: skip
    assert scores.efficacy is not None
    assert scores.gaps == {"difference": "the unedited model has 300 tokens, and this one 400"}


def test_relearning_is_measured_where_the_caller_has_turned_gradients_off(
    trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    def measured() -> revs.Scores:
        return revs.evaluate(
            trained_models["llama"], tokenizer, people[:2], retain=people[4:], k=K, metrics=["relearn"]
        )

    plain = measured()
    with torch.no_grad():
        quiet = measured()
        assert not torch.is_grad_enabled()
    assert quiet.to_dict() == plain.to_dict() and not quiet.gaps


@pytest.mark.parametrize("batch_size", [1, 3])
def test_sampling_decodes_no_more_at_once_than_batch_size_allows_and_draws_the_same(
    batch_size: int, trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    model, rows = trained_models["llama"], []
    tokens = tokenise(tokenizer, people[:3])
    handle = model.get_input_embeddings().register_forward_pre_hook(lambda _module, given: rows.append(len(given[0])))
    try:
        few = answers(model, tokenizer, tokens, batch_size=batch_size, samples=5, temperature=3.0, seed=7)
        assert max(rows) == batch_size
    finally:
        handle.remove()
    many = answers(model, tokenizer, tokens, batch_size=64, samples=5, temperature=3.0, seed=7)
    assert [len(said) for said in few] == [5, 5, 5] and len(set(few[0])) > 1
    assert all(
        a.startswith(b) or b.startswith(a) for x, y in zip(few, many, strict=True) for a, b in zip(x, y, strict=True)
    )


def long_rope() -> Any:
    """A Phi 3 that turns by other angles as soon as a sequence of the batch is longer than 24 tokens."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "phi3", vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=96, original_max_position_embeddings=24, bos_token_id=0,
        eos_token_id=1, pad_token_id=2, initializer_range=0.15, tie_word_embeddings=False,
        attn_implementation="eager",
        rope_scaling={"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def test_what_is_said_of_a_prompt_does_not_depend_on_a_longer_one_beside_it_under_longrope(
    tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    model = long_rope()
    short = Target(prompt="He", secret=" 41-55")
    targets = [short, replace(short, prompt=" ".join(ordinary) + " " + people[0].prompt)]
    context = context_length(model)
    assert context == 24
    tokens = tokenise(tokenizer, targets, context=context)
    assert len(tokens[0].ids) < 24 == len(tokens[1].ids)
    alone = [teacher_forced(model, [each], pad=2)[0].nll for each in tokens]
    assert [each.nll for each in teacher_forced(model, tokens, pad=2)] == pytest.approx(alone, abs=1e-4)
    together = read(model, tokens, pad=2)
    for number, each in enumerate(tokens):
        own = read(model, [each], pad=2)
        assert torch.equal(own.rank_LN, together.rank_LN[:, together.target_N == number])
    assert answers(model, tokenizer, tokens, batch_size=1) == answers(model, tokenizer, tokens)
    assert decoy_places(model, tokenizer, targets, tokens)[0] is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", revs.errors.RevsWarning)
        edits = [
            erased(model, tokenizer, targets, text=[" ".join(ordinary)]),
            erased(model, tokenizer, targets[::-1], text=[" ".join(ordinary)]),
        ]
    assert max(float((edits[0][name] - edits[1][name]).abs().max()) for name in edits[0]) < 1e-3
