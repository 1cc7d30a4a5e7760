"""AWS KMS as a key service; region and credentials come from where boto3 finds them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.keys.services import does_not_open
from revs.errors import OperationFailed

_FOREIGN = ("InvalidCiphertextException", "IncorrectKeyException")
_PATIENCE = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})


class AwsKms:
    """Encrypts and decrypts under one key of AWS KMS, with the context as its encryption context."""

    def __init__(self, address: str) -> None:
        """Make a client; nothing is asked yet.

        Raises:
            OperationFailed: No region is known, or what is configured for boto3 cannot be used.
        """
        self._key = address.partition("://")[2]
        log = logging.getLogger("botocore")
        log.setLevel(max(log.level, logging.INFO))  # at DEBUG it writes what is sent and answered, and those are keys
        try:
            self._client = Session().client("kms", config=_PATIENCE)
        except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no address
            raise _failed(type(error).__name__) from None

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        return self._asked("encrypt", "CiphertextBlob", Plaintext=secret, EncryptionContext=dict(context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self._asked("decrypt", "Plaintext", CiphertextBlob=wrapped, EncryptionContext=dict(context))

    def _asked(self, call: str, field: str, **what: object) -> bytes:
        try:
            return bytes(getattr(self._client, call)(KeyId=self._key, **what)[field])
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise does_not_open("AWS KMS") if code in _FOREIGN else _failed(code) from None
        except BotoCoreError as error:
            raise _failed(type(error).__name__) from None


def _failed(why: str) -> OperationFailed:
    return OperationFailed(
        f"AWS KMS cannot be used ({why}): see to REVS_KEY_SERVICE, region, credentials and the rights to the key"
    )
