"""Where a corpus may lie, told by the text of its address alone: nothing is asked of any host before this is settled.

Addresses are recorded (batch, registry, orchestration): one that holds a credential is refused without repeating it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from revs.errors import BadInput

KINDS = {".txt": "text", ".jsonl": "jsonl", ".txt.gz": "text.gz", ".jsonl.gz": "jsonl.gz", ".parquet": "parquet"}
SCHEMES = (
    *("file", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "hf"),
    *("http", "https", "ftp", "sftp", "ssh", "hdfs", "webhdfs", "memory"),
)
_NAMES_AN_ACCOUNT = {"abfs", "abfss", "ftp", "sftp", "ssh", "hdfs", "webhdfs"}  # before the host, and no secret
_SIGNED_BY_QUERY = {"http", "https", "ftp"}
_SCHEME = re.compile(rf"(?:{'|'.join(SCHEMES)}):", re.IGNORECASE)
_KEYS = (
    "take it out: keys come from the environment (S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; hub: HF_TOKEN) or "
    "from the configuration files of the store and of fsspec"
)


def kind_of(file: str) -> str | None:
    """The kind of a file by its ending, whatever its case; None for one that is not read."""
    name = file.lower()
    return next((kind for suffix, kind in KINDS.items() if name.endswith(suffix)), None)


def kinds() -> str:
    """The endings that are read, in words."""
    return ".txt, .jsonl (also .gz) or .parquet"


def is_address(source: str | Path) -> bool:
    """Whether it names a file system, rather than being a path on a disk."""
    text = str(source)
    return "://" in text or (_SCHEME.match(text) is not None and not os.path.lexists(text))


def absolute(source: str | Path) -> str:
    """The source as it can be recorded: an address as it is, a local path from the root.

    Raises:
        BadInput: an address is malformed, of an unknown kind, goes through a cache (which would leave a copy of
            personal data on the disk), or holds a credential; the credential is not repeated.
    """
    text = str(source)
    if not is_address(text):
        return str(Path(text).absolute())
    for part in text.split("::"):
        for written in (part, unquote(part)):
            _check_credentials(_split(written))
    if "::" in text:
        raise BadInput("the address of the corpus is a chain of addresses; name the files themselves, unpacked")
    _check_kind(_split(text))
    return text


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise BadInput("the address of the corpus is malformed; write SCHEME://HOST/PATH") from None
    if parts.scheme in SCHEMES and not text[len(parts.scheme) + 1 :].startswith("//"):
        raise BadInput(f"the address of the corpus is malformed; write {parts.scheme}://HOST/PATH")
    return parts


def _check_credentials(parts: SplitResult) -> None:
    user, at, _ = parts.netloc.rpartition("@")
    if "\\" in parts.netloc or (at and (":" in user or parts.scheme not in _NAMES_AN_ACCOUNT)):
        raise BadInput(f"the address of the corpus holds a password or key before its host; {_KEYS}")
    behind = parts.query + parts.fragment
    signed = parts.scheme in _SIGNED_BY_QUERY and (behind or "=" in parts.path.partition(";")[2])
    if signed or ("=" in behind and parts.scheme not in ("", "file")):
        raise BadInput(f"the address of the corpus goes on after ?, ; or #, as signed addresses do; {_KEYS}")


def _check_kind(parts: SplitResult) -> None:
    if parts.scheme not in SCHEMES:
        raise BadInput(
            f"no file system for {parts.scheme}:// is used for corpora; name a path, or an address of "
            f"{', '.join(SCHEMES)}"
        )
    if parts.scheme in _SIGNED_BY_QUERY and not parts.path.endswith("/") and kind_of(parts.path) is None:
        raise BadInput(
            f"the address of the corpus ends in no {kinds()}, and was not asked for; name such a file, or a folder "
            "with / at its end"
        )
