"""Rows of `revs bench methods`: found again by what decides them, redone where a file is only half there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from flows.bench.plan import Plan
from flows.bench.rows import Identity, Row, read_row, write_row
from flows.bench.run import chosen
from flows.bench.settings import BUDGET, SETTINGS, bound, settings_of
from revs.config import EraseConfig
from revs.errors import BadInput
from tasks.batch.evidence import commit

IDENTITY = Identity(
    architecture="llama", seed=0, method="revs", config={"epsilon": 0.03, "survive": ("int8",)}, model="sha256:m",
    control="sha256:c", metrics="all", versions={"revs": "0.1.0"},
)  # fmt: skip
ROW = Row(
    identity=IDENTITY, scores={"efficacy": 12.5}, gaps={"delta": "one layer"}, median_rank_by_layer=(0.0, 7.5),
    efficacy_at_k=((10, 3.0), (100, 1.5)),
)  # fmt: skip


def test_a_row_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_row(tmp_path, ROW)
    assert read_row(tmp_path, IDENTITY) == ROW
    assert [path.name for path in tmp_path.iterdir()] == [f"{IDENTITY.key}.json"], "no scratch file stays"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"seed": 1}, "another model"),
        ({"model": "sha256:x"}, "trained from another recipe"),
        ({"control": "sha256:x"}, "retrain takes its weights"),
        ({"method": "memit"}, "another method"),
        ({"config": {"epsilon": 1.0}}, "another setting"),
        ({"metrics": "standard"}, "a quick row lacks the attacks"),
        ({"versions": {"revs": "0.2.0"}}, "other code"),
    ],
)
def test_a_row_is_found_only_by_all_that_decides_it(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    write_row(tmp_path, ROW)
    assert read_row(tmp_path, dataclasses.replace(IDENTITY, **change)) is None, why


@pytest.mark.parametrize("content", ["", '{"scores": {"efficacy": 12', "[]", '{"scores": {}}', "null"])
def test_half_a_row_is_no_row(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{IDENTITY.key}.json").write_text(content)
    assert read_row(tmp_path, IDENTITY) is None
    write_row(tmp_path, ROW)
    assert read_row(tmp_path, IDENTITY) == ROW


def test_the_setting_with_the_best_unlearning_score_is_chosen() -> None:
    settings = settings_of("memit")
    assert len(settings) > 2

    def searched(*scores: float | None, method: str = "memit") -> list[Row]:
        rows = []
        for setting, score in zip(settings_of(method), scores, strict=False):
            identity = dataclasses.replace(IDENTITY, method=method, config=dataclasses.asdict(setting))
            found = {} if score is None else {"unlearning_score": score}
            rows.append(dataclasses.replace(ROW, identity=identity, scores=found))
        return rows

    assert chosen("memit", searched(5.0, 9.0, 9.0)) == settings[1], "the first of the best"
    assert chosen("memit", searched(None, 0.0)) == settings[1], "one that could not be measured loses against a zero"
    assert chosen("memit", searched(5.0, 9.0, 4.0)[::-1]) == settings[1], "by its setting, wherever the row stands"
    assert chosen("memit", []) == settings[0], "nothing was searched"
    assert chosen("revs", searched(5.0, 9.0, method="revs")) == EraseConfig(), "ours is compared with its defaults"


def test_a_method_without_a_list_is_measured_with_its_defaults_and_no_list_is_over_budget() -> None:
    assert settings_of("memit-of-tomorrow") == [EraseConfig(method="memit-of-tomorrow")]
    assert all(len(settings) <= BUDGET for settings in SETTINGS.values())
    assert all(setting.method == method for method, settings in SETTINGS.items() for setting in settings)


def test_only_retraining_is_bound_to_the_control(tmp_path: Path) -> None:
    setting = EraseConfig()
    assert bound(setting, retrained=tmp_path) is setting
    with pytest.raises(BadInput, match="no never-trained control"):
        bound(EraseConfig(method="retrain"), retrained=None)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"methods": ["revz"]}, "method 'revz' is unknown; known methods: revs, revs-reference, revs-neurons"),
        ({"architectures": ["gpt5"]}, "architecture 'gpt5' is unknown; known: llama, gptj"),
        ({"methods": []}, "no method is named"),
        ({"seeds": []}, "no seed is named"),
        ({"seeds": [0, 1000]}, "seed 1000 is that of the validation model"),  # settings were chosen on it
        ({"seeds": [1, 1]}, "a seed stands twice"),  # one model would count as two
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(tmp_path: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        Plan(**{"out": tmp_path, "cache": tmp_path, "methods": ["revs"], **options})


def test_the_commit_is_one_or_none() -> None:
    found = commit(changed="-dirty")
    assert found is None or len(found.removesuffix("-dirty")) == 40
