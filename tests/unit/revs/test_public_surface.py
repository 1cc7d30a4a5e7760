"""What `import revs` brings, and what it must not bring; in a fresh process, for this one has imported everything."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

# What a user of the library imports, and nothing else.
NAMES = {
    "ATTACKS", "CONFIGS", "METHODS", "METRICS", "BadInput", "EraseConfig", "Gap", "GateRefused", "NeuronsConfig",
    "OperationFailed", "Outcome", "Patch", "ReferenceConfig", "RevsError", "RevsWarning", "Scores", "Target", "decoys",
    "erase", "evaluate", "load",
}  # fmt: skip
HEAVY = (
    "torch",
    "transformers",
    "prefect",
    "mlflow",
    "presidio_analyzer",
    "great_expectations",
    "sqlalchemy",
    "datasets",
)
# Every figure is an attribute.
SCORES = {
    "efficacy", "efficacy_all_tokens", "generality", "specificity", "unlearning_score", "logit_lens", "delta",
    "perturbation", "resistance_score", "extraction_rate", "extraction_rate_unseen", "perplexity", "perplexity_ratio",
    "leak_at_k", "extraction_strength", "exact_memorization", "verbatim_probability", "min_k_plus_plus", "int8", "int4",
    "relearn", "difference",
}  # fmt: skip


def in_a_fresh_process(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_revs_imports_nothing_heavy() -> None:
    code = f"import json, sys, revs, revs.errors; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    assert in_a_fresh_process(code) == []


def test_the_whole_library_runs_without_orchestration_registry_or_stores() -> None:
    names = [name for name in HEAVY if name not in ("torch", "transformers")] + ["flows", "tasks", "infra"]
    code = f"""
import json, pkgutil, sys, importlib
blocked = set({names!r})
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError("blocked: " + name)
sys.meta_path.insert(0, Refuse())
import revs
modules = [m.name for m in pkgutil.walk_packages(revs.__path__, "revs.") if not m.name.startswith("revs.development")]
for name in modules:
    importlib.import_module(name)
public = {{name: type(getattr(revs, name)).__name__ for name in revs.__all__}}
import dataclasses
from revs.evaluation.metrics import METRICS
print(json.dumps({{"metrics": sorted(METRICS), "public": public, "dir": dir(revs), "methods": sorted(revs.METHODS),
                  "scores": [field.name for field in dataclasses.fields(revs.Scores)], "modules": modules}}))
"""
    found = in_a_fresh_process(code)
    assert set(found["public"]) == NAMES
    assert set(found["dir"]) == NAMES
    assert "revs" in found["methods"]
    assert SCORES <= set(found["metrics"]) <= set(found["scores"])
    assert "revs.edit.edit" in found["modules"]


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    import revs

    with pytest.raises(AttributeError, match="no attribute 'eraze'"):
        _ = revs.eraze


def test_a_patch_has_the_promised_methods() -> None:
    import revs

    assert all(
        callable(getattr(revs.Patch, name)) for name in ("apply", "revert", "save", "load", "to_lora", "to_checkpoint")
    )
    assert callable(revs.Scores.to_dict)


def test_every_method_has_its_settings_and_they_name_it() -> None:
    import revs

    assert revs.CONFIGS.keys() == revs.METHODS.keys()
    for name, config in revs.CONFIGS.items():
        if name != "retrain":  # which has to be told its result
            assert config().method == name


def test_a_room_may_be_imported_before_its_namesake_without_hiding_it() -> None:
    code = """
import json, revs.evaluation.scores, revs.erasure, revs.patch.patch, revs.model.load, revs
print(json.dumps([callable(getattr(revs, name)) for name in ("erase", "evaluate", "load", "Patch", "decoys")]))
"""
    assert in_a_fresh_process(code) == [True] * 5


def test_an_evaluation_judges_the_tokens_that_the_edit_chose() -> None:
    import revs
    from revs.evaluation.scores import _tokens_judged

    patch = revs.Patch.between({}, {}, method="revs", config={"tokens_per_secret": 3})
    settings = revs.EraseConfig(tokens_per_secret=4)
    assert [_tokens_judged(edit) for edit in (None, patch, settings, "all")] == [2, 3, 4, None]
