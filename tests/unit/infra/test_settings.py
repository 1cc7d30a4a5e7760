from __future__ import annotations

import stat
from pathlib import Path

import pytest

from infra.device import resolve_device
from infra.settings import Settings, load_settings
from revs.errors import BadInput


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"REVS_{name.upper()}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "person"))


def test_everything_lies_below_the_home_folder_by_default(tmp_path: Path) -> None:
    settings = load_settings()
    home = tmp_path / "person" / ".revs"
    assert settings.home == home
    assert settings.requests_url == f"sqlite:///{home}/requests.db"
    assert settings.tracking_uri == f"sqlite:///{home}/mlflow.db"
    assert settings.artifact_uri == f"file://{home}/artifacts"
    assert (settings.prefect_home, settings.work_dir) == (home / "prefect", home / "batches")
    assert (settings.regime, settings.request_days, settings.time_zone, settings.at_risk_days) == (
        "gdpr",
        None,
        "UTC",
        7,
    )


def test_a_new_home_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    load_settings(tmp_path / "new" / "home")
    assert stat.S_IMODE((tmp_path / "new" / "home").stat().st_mode) == 0o700


def test_the_environment_is_read_at_the_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "one"))
    monkeypatch.setenv("REVS_REQUEST_DAYS", "45")
    monkeypatch.setenv("REVS_DATABASE_URL", "")  # empty counts as unset
    first = load_settings()
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "two"))
    assert (first.home.name, first.request_days, first.database_url) == ("one", 45, None)
    assert load_settings().home.name == "two"


def test_the_argument_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "environment"))
    assert load_settings(tmp_path / "argument").home == tmp_path / "argument"


def test_home_is_absolute_and_the_tilde_is_the_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path("here")).home == tmp_path / "here"
    assert load_settings(Path("~/there")).home == tmp_path / "person" / "there"


def test_a_home_with_spaces_and_percent_signs_makes_usable_addresses(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "50% of it")
    assert settings.requests_url == f"sqlite:///{tmp_path}/50% of it/requests.db"
    assert settings.artifact_uri == f"file://{tmp_path}/50%25%20of%20it/artifacts"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REVS_REQUEST_DAYS", "soon", "REVS_REQUEST_DAYS=soon: "),
        ("REVS_REQUEST_DAYS", "0", "REVS_REQUEST_DAYS=0: "),
        ("REVS_APPROVER_ROLE", "wizard", "REVS_APPROVER_ROLE=wizard: "),
        ("REVS_REGIME", "the law", "REVS_REGIME=the law: "),
        ("REVS_TIME_ZONE", "Vienna", "REVS_TIME_ZONE=Vienna: is not the name of a time zone such as Europe/Vienna"),
        ("REVS_TIME_ZONE", "Europe", "REVS_TIME_ZONE=Europe: "),  # a folder of zones
        ("REVS_TIME_ZONE", "../../etc/passwd", "REVS_TIME_ZONE=../../etc/passwd: "),
        ("REVS_TIME_ZONE", "x" * 300, "REVS_TIME_ZONE=xxx"),
        ("REVS_AT_RISK_DAYS", "-1", "REVS_AT_RISK_DAYS=-1: "),
        ("REVS_RETENTION_DAYS", "-1", "REVS_RETENTION_DAYS=-1: "),
        ("REVS_BATCH_REQUESTS", "0", "REVS_BATCH_REQUESTS=0: "),
        ("REVS_BATCH_HALVING", "-1", "REVS_BATCH_HALVING=-1: "),
        ("REVS_HOME", "/tmp/what?", "REVS_HOME=/tmp/what?: "),
        ("REVS_DEVICE", "gpu", "REVS_DEVICE=gpu: "),
        ("REVS_DEVICE", "cuda:", "REVS_DEVICE=cuda:: "),
        ("REVS_DEVICE", "cuda:-1", "REVS_DEVICE=cuda:-1: "),
        ("REVS_DEVICE", "cpu:0", "REVS_DEVICE=cpu:0: "),
    ],
)
def test_a_bad_variable_is_named_with_its_value_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("setting", "gpus", "mps", "device"),
    [
        (None, 0, False, "cpu"),
        (None, 2, False, "cuda"),
        (None, 0, True, "mps"),
        ("auto", 1, True, "cuda"),
        ("cpu", 2, False, "cpu"),  # the CPU is there even where a GPU is
        ("cuda", 1, False, "cuda"),
        ("cuda:1", 2, False, "cuda:1"),
        ("cuda:2", 2, False, None),
        ("cuda", 0, False, None),
        ("mps", 2, False, None),
    ],
)
def test_the_device_is_the_gpu_if_there_is_one_unless_the_setting_says_another(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, gpus: int, mps: bool, device: str | None
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    if setting is not None:
        monkeypatch.setenv("REVS_DEVICE", setting)
    chosen = load_settings().device
    if device is None:
        with pytest.raises(BadInput, match=rf"^REVS_DEVICE={setting}: this machine has "):
            resolve_device(chosen)
    else:
        assert resolve_device(chosen) == device


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file"):
        load_settings(tmp_path / "file")
    with pytest.raises(BadInput, match="is a file"):
        load_settings(tmp_path / "file" / "below")


def test_secrets_do_not_show_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVS_DEPLOYMENT_KEY", "hunter2")
    monkeypatch.setenv("REVS_DATABASE_URL", "postgresql://me:hunter2@db/revs")
    monkeypatch.setenv("REVS_MLFLOW_TRACKING_URI", "https://me:hunter2@mlflow")
    settings = load_settings()
    assert "hunter2" not in f"{settings!r} {settings}"
    assert settings.requests_url == "postgresql://me:hunter2@db/revs"


def test_the_method_of_the_pipeline_is_one_of_two_and_the_policy_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().method == "revs-reference"
    monkeypatch.setenv("REVS_METHOD", "revs")
    assert load_settings().method == "revs"
    monkeypatch.setenv("REVS_METHOD", "memit")
    with pytest.raises(BadInput, match="REVS_METHOD=memit"):
        load_settings()
