"""Every attack, metric and baseline gives in a batch what it gives alone, and what the model's own logits give.

On the families in which a wrong position, a dropped scale or cap, or a shared weight shows: absolute positions, capped
logits, scaled logits, tied weights; with tokenizers that pad on either side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

import revs
from revs.discover.probe import probe
from revs.erasure import METHODS
from revs.errors import BadInput
from revs.evaluation.attacks import ATTACKS, outcome_of
from revs.evaluation.context import Examination
from revs.evaluation.metrics import METRICS, value_of
from revs.evaluation.perplexity import perplexity
from revs.methods.baselines import BASELINES
from revs.methods.baselines.defences import lens_logits
from revs.methods.baselines.frame import Job
from revs.methods.baselines.rmu import RmuConfig, _residuals
from revs.methods.baselines.tuning import log_p_of, logits_of
from revs.methods.selection import key_saliency
from revs.model.families import architecture_of
from revs.model.vocabulary import Unembedding
from revs.targets.target import Target
from revs.targets.tokenize import collate, tokenise
from revs.targets.variations import perturbed

CONTEXT, K = 128, 20
KINDS = {
    "absolute positions and tied weights": ("gpt2", {}),
    "capped logits": ("gemma2", {"final_logit_softcapping": 6.0}),
    "scaled logits": ("granite", {"logits_scaling": 3.0}),
    "tied weights, rotary positions": ("llama", {}),
}


# Rotary positions and shared weights stand in the others already; the rest of the table is for `make test-long`.
ALWAYS = [*KINDS][:3]
PARAMS = [pytest.param(kind, marks=() if kind in ALWAYS else pytest.mark.long) for kind in KINDS]


@pytest.fixture(scope="module", params=PARAMS)
def memorised(request: pytest.FixtureRequest, new_model: Any, fit: Any, people: list[Target]) -> Any:
    family, settings = KINDS[request.param]
    model = new_model(family, context=CONTEXT, layers=2)
    for name, value in settings.items():
        setattr(model.config, name, value)
    if "tied" in request.param:
        model.config.tie_word_embeddings = True
        model.tie_weights()
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    texts = [f"{t.prompt}{t.secret}." for t in [*people, *perturbed(people, seed="difference 0")]]
    return fit(model, texts, steps=120)


@pytest.fixture(params=["left", pytest.param("right", marks=pytest.mark.long)])
def padding(request: pytest.FixtureRequest, new_tokenizer: Callable[..., Any]) -> Any:
    made = new_tokenizer()
    made.padding_side = request.param
    return made


def examined(model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], **options: Any) -> Examination:
    return Examination(
        model=model, tokenizer=tokenizer, targets=people[:5], unseen=perturbed(people[:3], seed="difference 0"),
        other=people[3:5], retain=people[5:], text=ordinary, original=model, k=K,
        other_templates=perturbed(people[5:], seed="other templates"), **options,
    )  # fmt: skip


def untrained(model: Any) -> Any:
    """The same model with random weights: one that never saw anybody."""
    twin, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    for weight in twin.parameters():
        weight.data.normal_(0, 0.05, generator=generator)
    return twin


DEARER = {name for name in (*ATTACKS, *METRICS) if name.startswith("relearn")} | {"sampling", "leak_at_k"}
"""Half of the time: they train a copy, or draw, and ask as the others ask."""


def assert_the_same_alone_and_in_a_batch(
    model: Any, padding: Any, people: list[Target], ordinary: list[str], left_out: set[str]
) -> None:
    twin = untrained(model)
    alone, together = (examined(model, padding, people, ordinary, twin=twin, batch_size=size) for size in (1, 64))
    for attack in [name for name in ATTACKS if name not in left_out]:
        assert outcome_of(alone, attack) == outcome_of(together, attack), attack
    assert outcome_of(together, "difference").rate >= 60, "most of it was trained on the perturbed prompts"
    for metric in METRICS:
        if not metric.endswith("_at_1000") and metric not in left_out:  # larger than this vocabulary allows
            assert value_of(together, metric) == pytest.approx(value_of(alone, metric), rel=2e-3, abs=1e-6), metric


@pytest.mark.parametrize("memorised", ALWAYS[1:], indirect=True)
def test_attacks_and_metrics_are_the_same_alone_and_in_a_batch(
    memorised: Any, padding: Any, people: list[Target], ordinary: list[str]
) -> None:
    assert_the_same_alone_and_in_a_batch(memorised, padding, people, ordinary, DEARER)


@pytest.mark.parametrize(
    "memorised",
    [pytest.param(kind, marks=() if kind == ALWAYS[0] else pytest.mark.long) for kind in KINDS],
    indirect=True,
)
def test_every_attack_and_metric_is_the_same_alone_and_in_a_batch(
    memorised: Any, padding: Any, people: list[Target], ordinary: list[str]
) -> None:
    assert_the_same_alone_and_in_a_batch(memorised, padding, people, ordinary, set())


def own_log_p(model: Any, ids: tuple[int, ...]) -> torch.Tensor:
    """The obvious way: one text, no padding, the model's own logits."""
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    log_p: torch.Tensor = logits_TV.double().log_softmax(-1)
    return log_p


def test_log_probabilities_are_those_of_the_models_own_logits(
    memorised: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    from revs.discover.exposure import decoy_places

    examination = examined(memorised, tokenizer, people, ordinary)
    tokens = tokenise(tokenizer, people[:5], context=CONTEXT)
    read, probed, whole = examination.readings("targets"), probe(memorised, tokenizer, tokens), []
    for number, each in enumerate(tokens):
        log_TV = own_log_p(memorised, each.ids)[each.start - 1 : -1]
        own_S = log_TV.gather(1, torch.tensor(each.secret_ids)[:, None])[:, 0]
        mean_S = (log_TV.exp() * log_TV).sum(1)
        deviation_S = ((log_TV.exp() * log_TV.square()).sum(1) - mean_S.square()).sqrt()
        mine_N = read.target_N == number
        torch.testing.assert_close(read.logprob_N[mine_N], own_S, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(read.standardised_N[mine_N], (own_S - mean_S) / deviation_S, rtol=2e-3, atol=2e-3)
        assert probed[number].loss == pytest.approx(-float(own_S.mean()), rel=1e-3, abs=1e-4)
        whole.append(float(own_S.sum().exp()))
    assert value_of(examination, "verbatim_probability") == pytest.approx(100 * sum(whole) / len(whole), rel=1e-3)
    places = decoy_places(memorised, tokenizer, people[:5], tokens, count=5)
    assert [place.strength for place in places if place] == [each.extraction_strength for each in probed]
    ids = [token for row in tokenizer(ordinary)["input_ids"] for token in row][:CONTEXT]
    own = own_log_p(memorised, tuple(ids))[:-1].gather(1, torch.tensor(ids[1:])[:, None])
    text = tokenizer.decode(ids[1:])
    assert perplexity(memorised, tokenizer, [text]) == pytest.approx(float((-own.mean()).exp()), rel=1e-3)


def test_what_the_baselines_minimise_is_the_same_alone_and_in_a_batch(
    memorised: Any, tokenizer: Any, people: list[Target]
) -> None:
    tokens = tokenise(tokenizer, people[:5], context=CONTEXT)
    architecture = architecture_of(memorised)
    job = Job(
        model=memorised, architecture=architecture, tokenizer=tokenizer, config=RmuConfig(), forget=tokens, retain=(),
        text=(), weights={}, before={}, progress=None,
    )  # fmt: skip
    together = collate(tokens, pad=2)
    for number, each in enumerate(tokens):
        alone, mine_N = collate([each], pad=2), together.row_N == number
        with torch.no_grad():
            lens = [lens_logits(memorised, architecture, batch) for batch in (alone, together)]
            own = [logits_of(memorised, batch) for batch in (alone, together)]
            hidden = [_residuals(job, 1, batch) for batch in (alone, together)]
        torch.testing.assert_close(lens[0], lens[1][:, mine_N], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(lens[0][-1].log_softmax(-1), own[0].log_softmax(-1), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(hidden[0], hidden[1][mine_N], rtol=1e-3, atol=1e-3)
        log_p_S = own_log_p(memorised, each.ids)[each.start - 1 : -1].gather(1, alone.token_N[:, None])[:, 0]
        torch.testing.assert_close(log_p_of(own[0], alone).double(), log_p_S, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(log_p_of(own[1], together)[mine_N].double(), log_p_S, rtol=1e-3, atol=1e-3)


def test_the_saliency_of_a_key_is_the_gradient_of_the_models_own_log_probability(
    memorised: Any, tokenizer: Any, people: list[Target]
) -> None:
    model, architecture = copy.deepcopy(memorised), architecture_of(memorised)
    (tokens,) = tokenise(tokenizer, people[:1], context=CONTEXT)
    batch, place = collate([tokens], pad=2), tokens.chosen[0]
    found = key_saliency(model, architecture, Unembedding(model, architecture), batch, batch_size=8)
    keys: list[torch.Tensor] = []
    writer = architecture.linears(architecture.decoder_layers(model)[0])[0]
    handle = writer.register_forward_pre_hook(lambda _module, inputs: keys.append(inputs[0]))
    position = tokens.start + place - 1
    logits_V = model(input_ids=torch.tensor([tokens.ids]), use_cache=False).logits[0, position]
    (gradient,) = torch.autograd.grad(logits_V.log_softmax(-1)[tokens.secret_ids[place]], keys)
    handle.remove()
    expected_m = (gradient * keys[0]).view(len(tokens.ids), -1)[position].abs()
    torch.testing.assert_close(found[0][0], expected_m.float(), rtol=5e-3, atol=1e-5)


QUICK = {"retrain": None, "in-context": {}, "memit": {"steps": 1}}


@pytest.mark.parametrize("method", [name for name in BASELINES if QUICK.get(name, {}) is not None])
@pytest.mark.parametrize(
    "memorised",
    [pytest.param(kind, marks=() if kind == ALWAYS[0] else pytest.mark.long) for kind in KINDS],
    indirect=True,
)
def test_every_baseline_does_the_same_whichever_side_the_tokenizer_pads(
    method: str, memorised: Any, new_tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    settings = METHODS[method].settings(**QUICK.get(method, {"steps": 1}))  # type: ignore[attr-defined]
    if method == "memit" and architecture_of(memorised).post_norm is not None:
        with pytest.raises(BadInput, match="a norm after it"):
            revs.erase(copy.deepcopy(memorised), new_tokenizer(), people[:1], config=settings)
        return
    weights = []
    for side in ("left", "right"):
        tokenizer, model = new_tokenizer(), copy.deepcopy(memorised)
        tokenizer.padding_side = side
        patch = revs.erase(model, tokenizer, people[:2], config=settings, text=ordinary[:2], retain=people[3:4])
        weights.append(model.state_dict())
        for record in patch.records:
            (tokens,) = tokenise(tokenizer, [people[record.target]])
            log_V = own_log_p(memorised, tokens.ids)[tokens.start + record.place - 1]
            assert abs(record.rank_before - int((log_V > log_V[tokens.secret_ids[record.place]]).sum())) <= 1
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name
