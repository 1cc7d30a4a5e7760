"""Those who serve: the champion is followed, and nothing is handed out that does not verify."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from registered import Installation, flip_last_bit
from typer.testing import CliRunner

from flows.cli.app import app
from infra.registry import ModelVersion, Registry
from infra.registry.serving import Champion
from revs.errors import BadInput, OperationFailed

ROOT = Path(__file__).resolve().parents[4]


def test_the_champion_is_copied_once_and_again_when_the_alias_moves(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], checkpoints: tuple[Path, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    champion = Champion(registry, "demo", tmp_path / "served")
    first = champion.current()
    assert champion.current() is first
    weights = "model.safetensors"
    assert (first.folder / weights).read_bytes() == (checkpoints[0] / weights).read_bytes()
    flip_last_bit(first.folder / weights)  # of the copy, by whoever can write there
    assert champion.current() is not first
    assert (first.folder / weights).read_bytes() == (checkpoints[0] / weights).read_bytes()
    registry.promote(register(), expected_champion=base)
    second = champion.current()
    assert (second.version.version, champion.current()) == ("2", second)
    assert (second.folder / weights).read_bytes() == (checkpoints[1] / weights).read_bytes()
    assert not first.folder.exists(), "it holds what was erased since"
    assert [path.name for path in (tmp_path / "served" / "demo").iterdir()] == ["2"]
    (tmp_path / "served" / "demo" / "1").mkdir()  # of a process that ended before the alias moved
    assert Champion(registry, "demo", tmp_path / "served").current().version.version == "2"
    assert [path.name for path in (tmp_path / "served" / "demo").iterdir()] == ["2"]


def test_a_champion_that_was_changed_is_not_handed_out_and_what_served_before_stays(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    champion = Champion(registry, "demo", tmp_path / "served")
    first = champion.current()
    candidate = register()
    registry.promote(candidate, expected_champion=base)
    flip_last_bit(registry.download(candidate) / "model.safetensors")
    for _ in range(2):
        with pytest.raises(OperationFailed, match=f"the weights of {candidate.uri} changed"):
            champion.current()
    assert first.folder.exists() and not (tmp_path / "served" / "demo" / "2").exists()
    with pytest.raises(BadInput, match="no model 'other' is registered"):
        Champion(registry, "other", tmp_path / "other").current()


def test_the_example_of_the_page_runs(here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "serving.md").read_text(), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert type(names["model"]).__name__ == "LlamaForCausalLM" and (tmp_path / "served" / "demo" / "1").is_dir()


@pytest.fixture
def edited(here: Installation, tmp_path: Path) -> ModelVersion:
    """A version whose edit is as an edit is: of low rank, in one matrix of an MLP."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(here.checkpoints[0], tmp_path / "edited")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        weight = model.model.layers[1].mlp.down_proj.weight
        weight += torch.outer(torch.linspace(-1, 1, len(weight)), torch.linspace(1, 2, weight.shape[1])) / 10
    model.save_pretrained(folder)
    return here.candidate("one", folder)[0]


def test_the_edit_as_an_adapter_gives_the_edited_weights_and_a_warning(
    here: Installation, edited: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    done = CliRunner().invoke(app, ["export-lora", edited.uri, str(tmp_path / "adapter")])
    assert done.exit_code == 0 and "adapter of rank 1" in done.stdout
    assert "warning: models:/demo/1 still holds what was erased" in " ".join(done.stdout.split())
    base = AutoModelForCausalLM.from_pretrained(here.registry.download(here.registry.champion("demo")))
    merged = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload().state_dict()
    wanted = AutoModelForCausalLM.from_pretrained(here.registry.download(edited)).state_dict()
    for name, weight in wanted.items():
        torch.testing.assert_close(merged[name], weight, rtol=1e-5, atol=1e-6)
    again = CliRunner().invoke(app, ["export-lora", edited.uri, str(tmp_path / "adapter")])
    assert isinstance(again.exception, BadInput)
    below_a_file = tmp_path / "adapter" / "adapter_config.json" / "deeper"
    refused = CliRunner().invoke(app, ["export-lora", edited.uri, str(below_a_file)])
    assert "cannot be made (Not a directory); save the adapter elsewhere" in str(refused.exception)
    of_a_base = CliRunner().invoke(app, ["export-lora", "models:/demo/1", str(tmp_path / "other")])
    assert "there is no edit to write as an adapter" in str(of_a_base.exception)
