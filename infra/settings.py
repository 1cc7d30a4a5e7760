"""Where this installation keeps things, and its secrets: one class, read from the environment when a command starts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.permissions import make_private
from revs.errors import BadInput, OperationFailed

# Fields whose value may be shown in an error; the others may carry a password or are one.
_PRINTABLE = frozenset(
    {
        "home",
        "log_heads",
        "timestamp_certificate",
        "rejected_days",
        "artifact_root",
        "request_days",
        "retention_days",
        "task_runner",
        "task_workers",
        "device",
    }
    | {"inbox_taken", "batch_requests", "batch_halving", "stage_timeout", "method", "keep_digests", "digest_days"}
    | {
        "regime",
        "time_zone",
        "at_risk_days",
        "alias_moved",
        "approval",
        "approval_days",
        "approver_role",
        "signer_key",
        "trusted_signers",
        "unsigned",
    }
    | {"gate_policy"}
)


class Settings(BaseSettings):
    """Settings of one installation; every field is also the variable `REVS_<NAME>`. Empty variables count as unset."""

    model_config = SettingsConfigDict(
        env_prefix="REVS_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(default_factory=lambda: Path.home() / ".revs", validate_default=True)
    database_url: str | None = Field(default=None, repr=False)  # may hold a password
    mlflow_tracking_uri: str | None = Field(default=None, repr=False)  # may hold a password
    artifact_root: str | None = None
    deployment_key: SecretStr | None = None
    earlier_keys: SecretStr | None = None
    """Deployment keys that were in use before `deployment_key`, the latest first, commas between; see `revs keys`."""
    deployment_key_block: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,200}$")
    """Prefect's Secret block that holds the deployment key, and after it earlier ones with blanks or commas between."""
    key_service: str | None = Field(default=None, repr=False)  # may hold a password
    """Address of the key service that wraps the lines of the key file (`infra.keys.services`). Unset: plain ones."""
    signer_key: Path | None = None
    """File of the private key that signs registered versions, as PEM. Unset: the home folder's own."""
    trusted_signers: str | None = None
    """Files of public keys whose signatures count beside those of the own key, with commas between."""
    unsigned: Literal["accept", "refuse"] = "accept"
    """What becomes of a version that bears no signature, as those from before versions were signed."""
    regime: str = Field(default="gdpr", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")
    """Under which law requests come in that name none: a regime of `infra/requests/regimes.yaml`."""
    request_days: int | None = Field(default=None, ge=1, le=3650)
    """So many days instead of a law's period: the regime `days`, whatever `regime` says."""
    time_zone: str = "UTC"
    """Whose day "today" is, as in `Europe/Vienna`: for due dates, and for what was received in the future."""
    at_risk_days: int = Field(default=7, ge=0, le=3650)
    """With how many days left, or fewer, a request is shown as at risk."""
    rejected_days: int = Field(default=90, ge=0, le=3650)
    """For how many days the sealed content of rejected requests is kept, so that they can be looked into."""
    retention_days: int = Field(default=30, ge=0, le=3650)
    suppression_key: SecretStr | None = None
    """What the digests of `keep_digests` are made with, so that it can be kept where the deployment key is not. Unset:
    the deployment key. Another one makes the digests worthless that were kept under this one."""
    digest_days: int | None = Field(default=None, ge=0, le=36500)
    """For how many days a digest of `keep_digests` is kept; None: until `revs requests drop-digests`."""
    keep_digests: bool = False
    """Completed requests leave a keyed digest of each identifier, so that `revs scan --erased` notices if a model
    generates one again. Off: nothing that could name anybody stays. With the deployment key a digest still is personal
    data: who holds it can try every number there is."""
    log_heads: Path | None = None
    """File to which the end of the audit log is added whenever a batch ends. It must lie where those who can write to
    the database cannot: then an end that was cut off is found. Unset: nothing is kept elsewhere."""
    timestamp_url: SecretStr | None = None
    """Authority that is asked for a timestamp (RFC 3161) over each end that is noted. It may hold a password."""
    timestamp_certificate: Path | None = None
    """Certificates of that authority, as PEM: what its timestamps are checked against."""
    notices: SecretStr | None = None
    """Where people are told what happened to requests: Apprise URLs, separated by spaces. They may hold passwords."""
    notices_secret: SecretStr | None = None
    """Signs webhooks (Standard Webhooks): `whsec_` and base64; several with spaces between while it is changed."""
    inbox: str | None = Field(default=None, repr=False)  # a path may be a name
    """Where other systems put request files: a folder, or an address such as `s3://bucket/prefix`. Unset: nowhere."""
    inbox_taken: Literal["keep", "shred"] = "keep"
    """What happens to a file of the inbox that was taken: it is kept in `taken/` beside it, or destroyed."""
    rows_joined_by: str | None = None
    """What stands between two rows of the corpus in training, where rows follow one another: an occurrence at the
    beginning of a row is then probed from the end of the row before. Unset: from the beginning of text."""
    alias_moved: Literal["report", "restore"] = "report"
    """What the hourly look does about a champion alias that somebody else moved: tell, or move it back too."""
    approval: Literal["evidence", "always"] = "evidence"
    """When a human has to approve a promotion: where evidence is insufficient, or always."""
    approval_days: int = Field(default=14, ge=1, le=3650)
    """For how many days a candidate may wait for approval; then it is no longer promoted."""
    approver_role: Literal["submitter", "officer", "operator", "auditor"] | None = None
    """The role of the service's tokens that approves. Unset: a name alone does, from whoever may run the command."""
    approver_token: SecretStr | None = None
    """Such a token, for the commands that take --approved-by; --token-file names a file of one instead."""
    mlflow_webhook_secret: SecretStr | None = None
    """What MLflow signs its webhooks with. Unset: the service takes none."""
    method: Literal["revs-reference", "revs"] = "revs-reference"
    """What edits, and so by which policy its candidates are judged (`GatePolicy.of`)."""
    gate_policy: Path | None = None
    """YAML file of this installation's own gate policy (docs/gates.md). Unset: the one of `method` that is shipped."""
    batch_requests: int | None = Field(default=None, ge=1, le=1_000_000)
    """The most requests that a batch takes, due first; the run goes on with the rest. None: all that wait."""
    batch_halving: int = Field(default=10, ge=0, le=1000)
    """How many batches may be split in two of those that come of one, where every setting was refused for them: until
    the request that breaks the gates is alone, and the others are done without it. 0: none, all go to a human."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d{1,3})?|mps)$")  # auto: the GPU if there is one
    task_runner: Literal["threads", "processes", "dask", "ray"] = "processes"
    task_workers: int | None = Field(default=None, ge=1, le=4096)  # None: as many as the engine takes by itself
    task_address: str | None = Field(default=None, repr=False)  # of a Dask or Ray cluster; may hold a password
    stage_timeout: float | None = Field(
        default=None, gt=0, le=1_000_000, allow_inf_nan=False
    )  # seconds a stage may take; None: as long as it needs
    mlflow_ui: str | None = Field(default=None, repr=False)  # where people open MLflow; None: the tracking server

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        if any(mark in str(home) for mark in "?#"):
            raise ValueError("must not contain '?' or '#', which database addresses give another meaning")
        return home.expanduser().absolute()

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError):  # no name of a zone at all, or that of a folder of them
            raise ValueError("is not the name of a time zone such as Europe/Vienna") from None
        return name

    @field_validator("rows_joined_by")
    @classmethod
    def _unescaped(cls, joined_by: str | None) -> str | None:
        """Read backslash-n and backslash-t as line break and tab, which most environment files cannot hold."""
        return None if joined_by is None else joined_by.replace("\\n", "\n").replace("\\t", "\t")

    @property
    def webhook_secrets(self) -> str | None:
        """What signs webhooks, as text; None where they are not signed."""
        return None if self.notices_secret is None else self.notices_secret.get_secret_value()

    @property
    def requests_url(self) -> str:
        """SQLAlchemy URL of the request store."""
        return self.database_url or f"sqlite:///{self.home / 'requests.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking and registry URI."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def artifact_uri(self) -> str | None:
        """Root URI of MLflow artifacts, checkpoints included; None: where the MLflow server keeps them.

        A folder of this machine is none for a server, whose other clients would look for it on theirs.
        """
        if self.artifact_root is None and self.tracking_uri.startswith(("http://", "https://")):
            return None
        return self.artifact_root or (self.home / "artifacts").as_uri()

    @property
    def prefect_home(self) -> Path:
        """Folder of Prefect's own database and results."""
        return self.home / "prefect"

    @property
    def work_dir(self) -> Path:
        """Folder in which a batch keeps its unfinished work; one subfolder a batch."""
        return self.home / "batches"

    @property
    def private_paths(self) -> tuple[Path, ...]:
        """What of the home folder its owner alone may read: what older versions left open to others is closed.

        A key that others could read is not among them: that has to be noticed. Neither is a home folder that was there
        before: it may be shared on purpose. `revs doctor` reports both.
        """
        names = ("requests.db", "mlflow.db", "artifacts", "batches", "logs", "prefect", "prefect/prefect.db")
        return tuple(path for path in (self.home / name for name in names) if path.exists())

    @property
    def key_file(self) -> Path:
        """File of the deployment key, used when neither `deployment_key` nor `deployment_key_block` is set."""
        return self.home / "deployment.key"


def load_settings(home: Path | None = None) -> Settings:
    """Read the environment now and make sure that the home folder exists (a new one is readable by its owner only).

    Args:
        home: Takes precedence over `REVS_HOME`.

    Raises:
        BadInput: A variable has a value that cannot be used, or the home folder is a file.
        OperationFailed: The home folder cannot be made.
    """
    try:
        settings = Settings() if home is None else Settings(home=home)
    except ValidationError as error:
        raise BadInput(_explain(error)) from None
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"the home folder {settings.home} is a file; set REVS_HOME to a folder") from None
    except OSError as error:
        raise OperationFailed(
            f"the home folder {settings.home} cannot be made ({error.strerror}); set REVS_HOME to another"
        ) from None
    for path in settings.private_paths:
        make_private(path)
    return settings


def _explain(error: ValidationError) -> str:
    # pydantic keeps the inputs in the error even when it hides them in its text: only the first fault is taken over.
    fault = error.errors(include_url=False)[0]
    field = str(fault["loc"][0])
    value = f"={fault['input']!s}" if field in _PRINTABLE else ""
    return f"REVS_{field.upper()}{value}: {fault['msg'].removeprefix('Value error, ')}; correct or unset it"
