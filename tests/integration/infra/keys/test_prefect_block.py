"""The deployment key from a Secret block of a real Prefect server."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Revs, in_process
from key_forms import EARLIER, KEY, encoded, shows, told

from infra.keys.sources import deployment_keys, name_of_source
from infra.keys.vault import Vault
from infra.requests import RequestStore
from infra.settings import Settings, load_settings
from revs.errors import BadInput, OperationFailed, RevsError

OLDEST = bytes(range(2, 34))
GOOD = {"subject": "customer 1", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": "219-41-0001"}]}


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture
def block() -> Callable[[Any], str]:
    def save(value: Any) -> str:
        from prefect.blocks.system import Secret

        Secret(value=value).save("revs-key", overwrite=True)
        return "revs-key"

    return save


@pytest.mark.parametrize("between", ["\n", " ", ",", ", ", " ,\n", "\r\n"])
def test_the_keys_of_a_block_are_those_of_a_key_file(block: Callable[[Any], str], tmp_path: Path, between: str) -> None:
    name = block(between.join(map(encoded, (KEY, EARLIER, OLDEST))) + between)
    settings = Settings(home=tmp_path, deployment_key_block=name)
    assert deployment_keys(settings) == [KEY, EARLIER, OLDEST]
    sealed = Vault.from_settings(settings).seal(b"x", of="R-1 0")
    assert Vault(KEY).open(sealed, of="R-1 0") == b"x"
    assert os.listdir(tmp_path) == [], "no key file is made"
    assert name_of_source(settings) == "the Prefect Secret block revs-key"


def test_the_key_is_read_in_the_runs_of_a_flow_too(block: Callable[[Any], str], tmp_path: Path) -> None:
    from prefect import flow, task

    settings = Settings(home=tmp_path, deployment_key_block=block(encoded(KEY)))

    @task
    def fingerprint() -> str:
        return Vault.from_settings(settings).pseudonym("x", kind="k")

    @flow
    def work() -> list[str]:
        return [Vault.from_settings(settings).pseudonym("x", kind="k"), fingerprint(), fingerprint.submit().result()]

    assert work() == [Vault(KEY).pseudonym("x", kind="k")] * 3


@pytest.mark.parametrize(
    "value",
    ["", " , ", "hunter2 is no key", encoded(KEY)[:-4], f"{encoded(KEY)};{encoded(EARLIER)}", [encoded(KEY)], 42],
)
def test_a_value_that_is_no_key_is_refused_without_being_shown(
    block: Callable[[Any], str], tmp_path: Path, value: Any
) -> None:
    settings = Settings(home=tmp_path, deployment_key_block=block(value))
    with pytest.raises(BadInput, match="a key of the Prefect Secret block revs-key is not the urlsafe base") as caught:
        Vault.from_settings(settings)
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == []
    assert not shows(told(caught.value), KEY, EARLIER) and "hunter2" not in told(caught.value)


def test_a_block_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="REVS_DEPLOYMENT_KEY_BLOCK=nowhere: Prefect has no Secret block") as caught:
        Vault.from_settings(Settings(home=tmp_path, deployment_key_block="nowhere"))
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == []


@pytest.mark.parametrize("answering", ["nobody", "no Prefect"])
def test_an_api_that_does_not_answer_is_named_and_nothing_is_stored(
    tmp_path: Path, answering: str, endpoint: str
) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}" if answering == "nobody" else endpoint
        with (
            temporary_settings({PREFECT_API_URL: f"{url}/api", PREFECT_CLIENT_MAX_RETRIES: 0}),
            pytest.raises(RevsError, match=r"Prefect") as caught,
        ):
            RequestStore.from_settings(Settings(home=tmp_path, deployment_key_block="revs-key"))
    if answering == "nobody":
        assert isinstance(caught.value, OperationFailed) and "PREFECT_API_URL" in str(caught.value)
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == []


def test_the_end_of_a_stages_time_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a RuntimeError too, as Prefect's are."""

    class TimeIsOver(OperationFailed, TimeoutError):
        pass

    def hangs() -> None:
        raise TimeIsOver("took longer")

    monkeypatch.setattr("prefect.context.SyncClientContext.get_or_create", hangs)
    with pytest.raises(TimeIsOver):
        Vault.from_settings(Settings(home=tmp_path, deployment_key_block="revs-key"))


def test_no_log_shows_the_key(block: Callable[[Any], str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(home=tmp_path, deployment_key_block=block(f"{encoded(KEY)} {encoded(EARLIER)}"))
    caplog.set_level(logging.DEBUG)
    Vault.from_settings(settings)
    assert "/block_types/slug/secret/" in caplog.text, "the call is logged"
    assert not shows(caplog.text + repr(settings), KEY, EARLIER)


def test_the_key_is_rotated_by_putting_a_new_one_first(
    block: Callable[[Any], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REVS_DEPLOYMENT_KEY_BLOCK", block(encoded(EARLIER)))
    revs: Revs = in_process(monkeypatch, capsys, "219-41", encoded(KEY), encoded(EARLIER))
    RequestStore.from_settings(load_settings()).add(GOOD, model="demo")
    again = revs("keys", "rotate")
    assert again.code == 2 and "put a new one before it" in again.err
    block(f"{encoded(KEY)}\n{encoded(EARLIER)}")
    assert revs("keys", "rotate").out == "1 payloads are under the new key\n"
    block(encoded(KEY))
    assert revs("requests", "list").code == 0
    wrap = revs("keys", "wrap")
    assert wrap.code == 2 and "REVS_DEPLOYMENT_KEY_BLOCK is used instead of the key file" in wrap.err
