"""No public call leaves a trace in anybody's random numbers: torch's on any device, NumPy's or Python's."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch

import revs
from revs.discover.sample import Sampling, continuations
from revs.evaluation.attacks import ATTACKS
from revs.evaluation.decoding import answers
from revs.targets.target import Target
from revs.targets.tokenize import tokenise

LOW, AIM = 40, 60


@pytest.fixture
def model(trained_models: dict[str, Any]) -> Any:
    """One family is enough: nothing here depends on it."""
    return copy.deepcopy(trained_models["llama"])


@pytest.fixture(autouse=True)
def no_draws_from_pythons_own_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state cannot be compared here: the checks of types at run time draw bits from it."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("drawn from the generator of the process; take a random.Random")

    for name in (
        "seed",
        "random",
        "randint",
        "randrange",
        "choice",
        "choices",
        "sample",
        "shuffle",
        "uniform",
        "gauss",
    ):
        monkeypatch.setattr(random, name, refuse)


def states() -> tuple[str, list[int]]:
    return str(numpy.random.get_state()), torch.random.get_rng_state().tolist()


@pytest.mark.parametrize("method", sorted(revs.METHODS.keys() - {"retrain"}))
def test_no_method_of_erasing_moves_a_random_state(
    method: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    before = states()
    config = revs.EraseConfig(method=method, low_rank=LOW, aim_rank=AIM)
    revs.erase(model, tokenizer, people[:2], config=config, text=ordinary, retain=people[4:])
    assert states() == before


def test_no_metric_and_no_attack_moves_a_random_state(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    before = states()
    scores = revs.evaluate(
        model, tokenizer, people[:2], unseen=people[2:4], retain=people[4:], text=ordinary, k=LOW, metrics="all",
        original=copy.deepcopy(model),
    )  # fmt: skip
    assert set(ATTACKS) <= set(scores.attacks) | set(scores.gaps)
    assert states() == before


def whatever_draws(model: Any, tokenizer: Any, people: list[Target]) -> list[tuple[str, Callable[[], object]]]:
    return [
        (
            "sampled answers",
            lambda: answers(model, tokenizer, tokenise(tokenizer, people[:2]), samples=2, temperature=1.0),
        ),
        ("greedy answers", lambda: answers(model, tokenizer, tokenise(tokenizer, people[:2]))),
        ("continuations", lambda: list(continuations(model, tokenizer, Sampling(count=2, length=4)))),
        (
            "relearning",
            lambda: revs.evaluate(model, tokenizer, people[:1], retain=people[4:], k=LOW, metrics=["relearn"]),
        ),
    ]


@pytest.mark.parametrize("number", range(4))
def test_what_draws_for_a_model_on_the_cpu_leaves_the_generators_of_gpus_alone(
    number: int, model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`torch.manual_seed` calls this for all GPUs of the process; where CUDA sleeps, it waits for it to wake."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeded.append)
    what, draw = whatever_draws(model, tokenizer, people)[number]
    draw()
    assert seeded == [], what


def test_a_model_on_gpus_has_the_generators_of_these_forked_and_seeded_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Spread over two of three GPUs; none is here, so what torch is asked for is what is looked at."""
    from contextlib import contextmanager

    from revs.model import seeding as randomness

    asked: list[tuple[str, object]] = []

    class Generator:
        def __init__(self, number: int) -> None:
            self.number = number

        def manual_seed(self, seed: int) -> None:
            asked.append((f"seed GPU {self.number}", seed))

    @contextmanager
    def fork(devices: list[int]) -> Any:
        asked.append(("fork", devices))
        yield

    devices = {torch.device("cuda", 2), torch.device("cuda", 0), torch.device("cpu")}
    monkeypatch.setattr(randomness, "devices_of", lambda _: devices)
    monkeypatch.setattr(torch.cuda, "default_generators", tuple(Generator(n) for n in range(3)))
    before = torch.random.get_rng_state()
    monkeypatch.setattr(torch.random, "fork_rng", fork)
    with randomness.seeded(7, torch.nn.Linear(1, 1)):  # type: ignore[arg-type]
        first = torch.rand(1)
    torch.random.set_rng_state(before)
    assert asked == [("fork", [0, 2]), ("seed GPU 0", 7), ("seed GPU 2", 7)]
    assert torch.equal(first, torch.rand(1, generator=torch.Generator().manual_seed(7)))
