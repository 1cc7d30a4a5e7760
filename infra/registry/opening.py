"""The registry of an installation, as its settings say: whoever opens it otherwise neither signs nor verifies."""

from __future__ import annotations

from infra.keys.signer import Signers
from infra.registry.registry import Registry
from infra.settings import Settings


def open_registry(settings: Settings) -> Registry:
    """Open the registry; it connects at the first call."""
    return Registry(
        settings.tracking_uri,
        settings.artifact_uri,
        retention_days=settings.retention_days,
        signers=Signers.of(settings),
        unsigned=settings.unsigned,
        policy_file=settings.gate_policy,
    )
