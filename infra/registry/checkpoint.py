"""What is stored of a checkpoint folder: the model's own files, laid out for `mlflow.transformers.load_model`.

MLflow's own `log_model` copies the whole folder twice, strays included, and works through process-wide state. Here its
flavour is given a staged folder without weights, from which it writes the description; the weights are linked in and
copied once, by the upload.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from infra.registry.describing import EXAMPLE
from revs.errors import BadInput

# An allowlist: training data, logs, optimizer states and pickles beside the model must not reach the registry.
_MODEL_FILES = frozenset(
    {
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors.index.json",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    }
)
_REQUIREMENTS = ("mlflow", "safetensors", "torch", "transformers")
WEIGHTS_FOLDER = "model"  # where MLflow's transformers flavour looks for the checkpoint


def model_files(folder: Path) -> tuple[Path, ...]:
    """The files of a checkpoint folder that belong to the model.

    Raises:
        BadInput: the folder is missing or holds no causal language model that can be loaded safely.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder: give a folder written by save_pretrained()")
    architectures = _architectures(folder)
    if not any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures):
        shown = ", ".join(architectures) or "no architecture"
        raise BadInput(
            f"{folder} holds no causal language model ({shown}): give a causal LM saved by save_pretrained()"
        )
    files = [path for path in sorted(folder.iterdir()) if path.suffix == ".safetensors" or path.name in _MODEL_FILES]
    if not any(path.suffix == ".safetensors" for path in files):
        raise BadInput(f"{folder} has no .safetensors weights: save the model again with save_pretrained()")
    return tuple(files)


def _architectures(folder: Path) -> list[str]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return [str(name) for name in config.get("architectures") or ()]
    except FileNotFoundError:
        raise BadInput(f"{folder} has no config.json: give a folder written by save_pretrained()") from None
    except (ValueError, AttributeError):
        raise BadInput(f"{folder / 'config.json'} is not a model configuration: save the model again") from None


def describe(files: tuple[Path, ...], into: Path, *, name: str, run_id: str, model_id: str) -> Path:
    """Lay out an MLflow model below `into`, the weights as links, and return its folder, ready to be uploaded.

    No network: the flavour's look-up of a model card ends at once, for an absolute path is no repository id.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model, ModelSignature
    from mlflow.transformers import save_model
    from mlflow.types import ColSpec, Schema

    staged, built = into.resolve() / "staged", into.resolve() / "built"
    staged.mkdir()
    weights = [path for path in files if path.suffix == ".safetensors"]
    for path in files:
        if path not in weights:
            shutil.copyfile(path, staged / path.name)
    model = Model(run_id=run_id, model_id=model_id, model_uuid=model_id)
    text = Schema([ColSpec("string")])
    try:
        save_model(
            str(staged),
            str(built),
            task="text-generation",
            mlflow_model=model,
            pip_requirements=list(_REQUIREMENTS),
            signature=ModelSignature(inputs=text, outputs=text),  # given: to infer it the model would have to answer
            input_example=EXAMPLE,
        )
    except (MlflowException, ValueError, KeyError, ImportError):
        raise BadInput(
            f"model {name!r} has no tokenizer that can be loaded: write one with tokenizer.save_pretrained()"
        ) from None
    for path in weights:
        (built / WEIGHTS_FOLDER / path.name).symlink_to(path.resolve())
    _finish(model, built, name=name)
    return built


def _finish(model: Any, built: Path, *, name: str) -> None:
    """Correct what the flavour could not know: the size with weights and the name; and drop the licence it guessed."""
    (built / "LICENSE.txt").unlink(missing_ok=True)
    model.flavors["transformers"]["source_model_name"] = name
    model.model_size_bytes = sum(path.stat().st_size for path in built.rglob("*") if path.is_file())
    model.save(str(built / "MLmodel"))


def checkpoint_in(root: Path) -> Path:
    """The checkpoint folder inside a stored model, whichever tool laid it out.

    Raises:
        BadInput: there is none.
    """
    for folder in (root / WEIGHTS_FOLDER, root):
        if (folder / "config.json").is_file():
            return folder
    raise BadInput(f"no checkpoint below {root}: the version must hold a folder written by save_pretrained()")
