"""Which source the deployment key has, and settings that contradict each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from key_forms import KEK, KEY, address, encoded, shows, told

from infra.keys.local import LocalKeys
from infra.keys.services import key_service
from infra.keys.sources import deployment_keys, name_of_source
from infra.keys.vault import Vault
from infra.settings import Settings, load_settings
from revs.errors import BadInput, OperationFailed


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"deployment_key": "k", "deployment_key_block": "b"}, "REVS_DEPLOYMENT_KEY and REVS_DEPLOYMENT_KEY_BLOCK"),
        ({"deployment_key_block": "b", "earlier_keys": "k"}, "put the earlier keys into the block"),
        ({"deployment_key": "k", "key_service": "file:///kek"}, "REVS_DEPLOYMENT_KEY is used instead"),
        ({"deployment_key_block": "b", "key_service": "file:///kek"}, "REVS_DEPLOYMENT_KEY_BLOCK is used instead"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(home: Path, settings: dict[str, str], said: str) -> None:
    both = Settings.model_validate({"home": home, **settings})
    for attempt in (Vault.from_settings, name_of_source):
        with pytest.raises(BadInput, match=said):
            attempt(both)
    assert os.listdir(home) == []


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (
            "gopher://kek",
            r"REVS_KEY_SERVICE=gopher://… is no address of a key service; begin it with one of aws-kms://",
        ),
        (encoded(KEK), r"^REVS_KEY_SERVICE is no address of a key service"),
        ("file:kek", r"^REVS_KEY_SERVICE is no address of a key service"),
        ("file://host/kek", r"write it as file:///path/to/kek"),
        ("file://", r"write it as file:///path/to/kek"),
    ],
)
def test_an_address_of_no_service_is_refused_without_what_could_be_a_key(home: Path, service: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        Vault.from_settings(Settings(home=home, key_service=service))
    assert not shows(told(caught.value), KEK)
    assert os.listdir(home) == []


def test_a_key_in_the_place_of_the_blocks_name_is_not_shown(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"REVS_{name.upper()}", raising=False)
    monkeypatch.setenv("REVS_DEPLOYMENT_KEY_BLOCK", encoded(KEY))
    with pytest.raises(BadInput, match=r"REVS_DEPLOYMENT_KEY_BLOCK: .*correct or unset it") as caught:
        load_settings(home)
    assert not shows(told(caught.value), KEY)


def test_a_service_of_another_package_is_found_by_its_entry_point_and_replaces_none_of_ours(
    home: Path, kek: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packages"
    (package / "acme_keys-1.0.dist-info").mkdir(parents=True)
    (package / "acme_keys-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-keys\nVersion: 1.0\n"
    )
    (package / "acme_keys-1.0.dist-info" / "entry_points.txt").write_text(
        "[revs.key_services]\nacme = acme_keys:Keys\nfile = acme_keys:Keys\nbroken = acme_keys:Missing\n"
    )
    (package / "acme_keys.py").write_text(
        "class Keys:\n"
        "    def __init__(self, address): self.address = address\n"
        "    def wrap(self, secret, context): return secret[::-1]\n"
        "    def unwrap(self, wrapped, context): return wrapped[::-1]\n"
    )
    monkeypatch.syspath_prepend(str(package))
    settings = Settings(home=home, key_service="acme://user:hunter2@kms.example.com")
    (key,) = deployment_keys(settings)
    assert settings.key_file.read_text().strip().endswith(encoded(key[::-1]))
    assert "acme://" in name_of_source(settings) and "hunter2" not in name_of_source(settings) + repr(settings)
    assert isinstance(key_service(address(kek)), LocalKeys)
    with pytest.raises(OperationFailed, match="the key service broken cannot be loaded"):
        key_service("broken://x")


def test_neither_prefect_nor_boto3_is_imported_where_neither_is_asked_for(home: Path, kek: Path) -> None:
    code = (
        "import sys\nfrom infra.keys.vault import Vault\nfrom infra.settings import load_settings\n"
        "Vault.from_settings(load_settings())\n"
        "assert not {'prefect', 'boto3', 'botocore'} & set(sys.modules)\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REVS_")}
    environment = clean | {"REVS_HOME": str(home), "REVS_KEY_SERVICE": address(kek)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
