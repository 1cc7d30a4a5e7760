"""Tiny checkpoints and batches for the tests of what is registered; no tests here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.registry import ModelVersion, Registry
    from infra.requests import RequestStore
    from infra.settings import Settings

# What a batch records of a candidate that passed; `GatePolicy.from_dict(POLICY)` is the registry's policy then.
POLICY = {"efficacy": {"low": 90.0, "high": None}}
PASSED = [{"name": "efficacy", "value": 95.0, "bound": "≥ 90", "passed": True}]
GOOD: dict[str, Any] = {"gates": PASSED, "policy": POLICY, "scores": {"after": {"efficacy": 95.0}}}
IN_A_MONTH = datetime.now(UTC).date() + timedelta(days=31)
"""When the period of everything that a test superseded today has ended."""
NO_WEIGHTS = "sha256:" + "0" * 64


class Killed(BaseException):
    """In place of SIGKILL."""


def make_checkpoint(folder: Path, seed: int) -> Path:
    """A random Llama of two layers with a tokenizer, as `save_pretrained` writes them."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=280, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(["the quick brown fox"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>")
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def stored_weights(tmp_path: Path) -> int:
    return len(list((tmp_path / "artifacts").rglob("*.safetensors")))


def flip_last_bit(path: Path) -> None:
    """Change one bit of the last weight."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def evidence_of(name: str, *, before: str, weights_before: str, weights_after: str, **more: Any) -> dict[str, Any]:
    """The evidence of a batch as it is when its candidate is registered."""
    return (
        GOOD
        | {
            "schema": "revs.evidence/1",
            "batch": {"status": "open"},
            "model": {
                "name": name,
                "version_before": before,
                "version_after": None,
                "uri_after": None,
                "weights_before": weights_before,
                "weights_after": weights_after,
                "retire_on": None,
            },
            "datasets": [{"name": "corpus", "role": "corpus", "rows": 3, "digest": "sha256:" + "ab" * 32}],
            "targets": {"found": 3},
            "requests": [],
            "edit": {"method": "revs-reference", "seconds": 1.5},
            "seed": 0,
        }
        | more
    )


def closed(evidence: dict[str, Any], version: str) -> dict[str, Any]:
    """The same evidence as it is when the batch is closed: the version has a number, and time has passed."""
    model = evidence["model"] | {
        "version_after": version,
        "uri_after": f"models:/{evidence['model']['name']}/{version}",
    }
    return evidence | {"model": model, "edit": evidence["edit"] | {"seconds": 2.5}, "batch": {"status": "completed"}}


REQUEST: dict[str, Any] = {
    "subject": "s",
    "received": datetime.now(UTC).date().isoformat(),
    "identifiers": [{"type": "EMAIL_ADDRESS", "value": "wren@example.com"}],
}


@dataclass(frozen=True)
class Installation:
    """A home with a registered model, and the means to run a batch on it without computing anything."""

    settings: Settings
    store: RequestStore
    registry: Registry
    checkpoints: tuple[Path, Path]

    def candidate(
        self, subject: str, folder: Path, *, asked: dict[str, Any] = REQUEST, **more: Any
    ) -> tuple[ModelVersion, str, dict[str, Any]]:
        """Hand in a request, open its batch and register a candidate for it."""
        from infra.registry import weight_digest

        champion = self.registry.champion("demo")
        self.store.add(asked | {"subject": subject}, model="demo")
        batch = self.store.open_batch(model="demo", corpus="corpus.txt", source=champion.uri)
        assert batch is not None
        evidence = evidence_of(
            "demo",
            before=champion.version,
            weights_before=str(champion.weights),
            weights_after=weight_digest(folder),
            **more,
        )
        version = self.registry.register_candidate(
            folder, parent=champion, batch_id=batch.id, lineage={"corpus": "corpus.txt"}, metrics={}, evidence=evidence
        )
        return version, batch.id, evidence

    def batch(self, subject: str, folder: Path) -> tuple[ModelVersion, str]:
        """A whole batch: the candidate is promoted and the batch completed."""
        version, batch_id, evidence = self.candidate(subject, folder)
        self.registry.promote(version, expected_champion=self.registry.champion("demo"))
        self.store.record("version.promoted", batch_id=batch_id, detail={"version": version.uri})
        outcome = {"evidence": closed(evidence, version.version)}
        self.store.close_batch(batch_id, status="completed", outcome=outcome)
        return self.registry.resolve(version.uri), batch_id

    def point_champion_to(self, version: str) -> None:
        """What a human does with the MLflow client."""
        self.registry._client.set_registered_model_alias("demo", "champion", version)


def document(run: Any, name: str) -> bytes:
    """An artifact of a run in a local store."""
    return (Path(run.info.artifact_uri.removeprefix("file://")) / name).read_bytes()


def strip_signature(registry: Registry, version: ModelVersion) -> None:
    """Leave a version as it was before versions were signed, by what the MLflow client can do."""
    folder = Path(registry._client.get_run(version.run_id).info.artifact_uri.removeprefix("file://"))
    for name in ("model.sig", "provenance.json"):
        (folder / name).unlink()
    registry._client.delete_model_version_tag(version.name, version.version, "revs.signer")


THIN: dict[str, Any] = {
    "gates": GOOD["gates"],
    "policy": POLICY | {"specificity": {"low": 80.0, "high": None, "need": "evidence"}},
    "scores": {"after": {"efficacy": 95.0}},
}


def waiting(here: Installation, **asked: Any) -> tuple[ModelVersion, str]:
    """A candidate on thin evidence, its batch closed as waiting, and its request with a human."""
    from infra.requests import IdentifierOutcome

    version, batch_id, evidence = here.candidate("one", here.checkpoints[1], asked=REQUEST | asked, **THIN)
    (request_id,) = here.store.identifiers(batch_id)
    done = IdentifierOutcome(request_id=request_id, number=0, type="EMAIL_ADDRESS", kind="edited")
    recorded = closed(evidence, version.version) | {"batch": {"id": batch_id, "status": "waiting"}}
    recorded |= {"requests": [{"id": request_id, "status": "failed", "reason": "waits"}]}
    here.store.close_batch(batch_id, status="waiting", outcome={"evidence": recorded}, outcomes=[done])
    here.store.release(batch_id)
    return version, batch_id


def retire_in_a_month(home: Path, results: Any) -> None:
    """What a process of its own does that retires what is due in a month; puts what it retired into a queue."""
    from infra.requests import Clock
    from infra.settings import load_settings
    from tasks.versions.retire import Desk, apply

    Clock.today = lambda self: IN_A_MONTH  # type: ignore[method-assign]  # a process of its own
    results.put(apply(Desk.of(load_settings(home))).retired)
