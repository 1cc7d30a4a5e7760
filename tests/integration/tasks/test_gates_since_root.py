"""What nights lost together: numbers since the root come from the signed record of each version, or are left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registered import GOOD, POLICY, Installation, strip_signature

from infra.gates.policy import GatePolicy
from infra.registry import ModelVersion
from revs.errors import GateRefused
from tasks.versions.gate import judge_record
from tasks.versions.since_root import since_root_of

NIGHT = {"efficacy": 95.0, "specificity": 90.0, "perplexity_ratio": 1.01}


def night(here: Installation, number: int, **scores: Any) -> ModelVersion:
    """A candidate of a batch that measured these scores, made champion."""
    after = {name: value for name, value in (NIGHT | scores).items() if value is not None}
    folder = here.checkpoints[(number + 1) % 2]
    version, batch_id, _ = here.candidate(f"night {number}", folder, scores={"after": after})
    here.registry.promote(version, expected_champion=here.registry.champion("demo"))
    here.store.close_batch(batch_id, status="completed", outcome={})
    return here.registry.resolve(version.uri)


def evidence_file(here: Installation, version: ModelVersion) -> Path:
    return (
        Path(here.registry._client.get_run(version.run_id).info.artifact_uri.removeprefix("file://")) / "evidence.json"
    )


def evidence_gone(here: Installation, version: ModelVersion) -> None:
    evidence_file(here, version).unlink()


def evidence_changed(here: Installation, version: ModelVersion) -> None:
    path = evidence_file(here, version)
    path.write_bytes(path.read_bytes().replace(b'"specificity":90', b'"specificity":99'))


def evidence_and_its_digest_changed(here: Installation, version: ModelVersion) -> None:
    from infra.registry.records import EVIDENCE, sha256

    evidence_changed(here, version)
    digest = sha256(evidence_file(here, version).read_bytes())
    here.registry._client.set_model_version_tag("demo", version.version, EVIDENCE, digest)


def parent_taken_away(here: Installation, version: ModelVersion) -> None:
    """As if the first night were a root, and had lost nothing."""
    here.registry._client.delete_model_version_tag("demo", version.version, "revs.parent")


def entry_deleted(here: Installation, version: ModelVersion) -> None:
    here.registry._client.delete_model_version("demo", version.version)


def signature_taken_away(here: Installation, version: ModelVersion) -> None:
    evidence_and_its_digest_changed(here, version)
    strip_signature(here.registry, version)


def test_three_nights_are_multiplied_and_the_first_is_its_own(here: Installation) -> None:
    root = here.registry.champion("demo")
    assert since_root_of(here.registry, root, NIGHT) == (
        {"specificity_root": 90.0, "perplexity_ratio_root": 1.01}, None,
    )  # fmt: skip
    for number in (1, 2):
        night(here, number)
    found, why = since_root_of(here.registry, here.registry.champion("demo"), NIGHT)
    assert why is None
    assert found == {"specificity_root": pytest.approx(72.9), "perplexity_ratio_root": pytest.approx(1.030301)}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (evidence_gone, "evidence"),
        (evidence_changed, "evidence"),
        (evidence_and_its_digest_changed, "scores.after.specificity"),
        (signature_taken_away, "signature"),
        (parent_taken_away, "revs.parent"),
        (entry_deleted, "the entry of version 2 of 'demo' was deleted"),
    ],
)
def test_a_link_that_cannot_be_relied_on_leaves_the_numbers_out(
    harm: Callable[[Installation, ModelVersion], None], said: str, here: Installation
) -> None:
    first = night(here, 1)
    night(here, 2)
    harm(here, first)
    found, why = since_root_of(here.registry, here.registry.champion("demo"), NIGHT)
    assert found == {} and said in str(why), why


def test_a_link_of_an_older_program_that_measured_one_of_them_leaves_that_one_out(here: Installation) -> None:
    night(here, 1, specificity=None)
    found, why = since_root_of(here.registry, here.registry.champion("demo"), NIGHT)
    assert found == {"perplexity_ratio_root": pytest.approx(1.0201)}
    assert why == "the evidence of models:/demo/2 holds no specificity"


def test_the_record_of_an_older_program_is_judged_since_the_root_too(here: Installation, tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        version = night(here, number)
    policy = tmp_path / "policy.yaml"
    root = "specificity: {root: {guards: Small losses add up., low: 70, need: evidence}}"
    policy.write_text(f"version: 1\ngates:\n  {root}\n", encoding="utf-8")
    judged = {uri: judge_record(here.settings, uri, policy=GatePolicy.read(policy))[1] for uri in
              ("models:/demo/4", version.uri)}  # fmt: skip
    assert judged["models:/demo/4"].passed and judged["models:/demo/4"].results[0].value == pytest.approx(72.9)
    assert judged[version.uri].failed == ("specificity_root",)


def digest(policy: dict[str, Any] = POLICY) -> str:
    return GatePolicy.from_dict(policy).digest


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"policy_digest": digest()}, None),
        ({}, None),  # older evidence has none
        ({"policy_digest": digest({"efficacy": {"low": 80}})}, "its digest is sha256:"),
        ({"policy_digest": "sha256:" + "0" * 64}, "not the one whose digest is recorded beside it"),
        ({"policy_digest": 7}, "not the one whose digest is recorded beside it"),
        (
            {
                "policy": POLICY | {"efficacy_parent": {"low": -5}},
                "gates": [
                    *GOOD["gates"],
                    {"name": "efficacy_parent", "value": 5.0, "bound": "≥ -5", "passed": True},
                ],
                "scores": {"after": {"efficacy": 95.0}, "before": {"efficacy": 90.0}},
            },
            None,
        ),
        (
            {
                "policy": POLICY | {"efficacy_parent": {"low": -5}},
                "gates": [
                    *GOOD["gates"],
                    {"name": "efficacy_parent", "value": 5.0, "bound": "≥ -5", "passed": True},
                ],
                "scores": {"after": {"efficacy": 95.0}, "before": {"efficacy": 101.0}},
            },
            "not those that its recorded scores give, in efficacy_parent",
        ),
        (
            {
                "policy": POLICY | {"delta": {"low": 50, "action": "warn"}},
                "gates": [
                    *GOOD["gates"],
                    {"name": "delta", "value": 5.0, "bound": "≥ 50", "passed": False, "action": "warn"},
                ],
                "scores": {"after": {"efficacy": 95.0, "delta": 5.0}},
            },
            None,
        ),
        ({"policy": {"efficacy": {"low": 90, "action": "warn"}, "delta": {"low": 1}}}, "looser .* in efficacy"),
    ],
    ids=["digest", "none", "of another", "of nothing", "a number", "parent", "parent changed", "warning", "only warns"],
)
def test_promote_recomputes_from_scores_and_the_policy_whose_digest_is_recorded(
    record: dict[str, Any], said: str | None, here: Installation
) -> None:
    version, _, _ = here.candidate("one", here.checkpoints[1], **record)
    if said is None:
        here.registry.promote(version, expected_champion=here.registry.champion("demo"))
        assert here.registry.champion("demo").version == version.version
    else:
        with pytest.raises(GateRefused, match=said) as refusal:
            here.registry.promote(version, expected_champion=here.registry.champion("demo"), approved_by="A. Officer")
        assert version.uri in str(refusal.value) and "\n" not in str(refusal.value)
        assert here.registry.champion("demo").version == "1"


def test_what_is_recorded_must_be_as_strict_as_the_installations_own_policy(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.settings import load_settings
    from tasks.batch.stage import open_registry
    from tasks.stages.requests import open_batch

    version, _, _ = here.candidate("one", here.checkpoints[1])
    path = tmp_path / "policy.yaml"
    monkeypatch.setenv("REVS_GATE_POLICY", str(path))
    registry = open_registry(load_settings())
    for low, said in ((96, "looser than this installation's in efficacy"), (80, None)):
        path.write_text(json.dumps({"version": 1, "gates": {"efficacy": {"guards": "Out of reach.", "low": low}}}))
        if said:
            with pytest.raises(GateRefused, match=said):
                registry.promote(version, expected_champion=registry.champion("demo"))
        else:  # looser than what is shipped, and known to be
            registry.promote(version, expected_champion=registry.champion("demo"))
    assert registry.champion("demo").version == version.version
    path.write_text("version: 1\ngates: []\n")
    with pytest.raises(ValueError, match=r"policy\.yaml: gates is not a mapping of metrics"):
        open_batch.fn("demo")  # before anything is edited
