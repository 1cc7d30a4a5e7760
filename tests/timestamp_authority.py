"""A timestamp authority on 127.0.0.1: certificates made on the spot, answers by `openssl ts -reply`; no tests here."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
"""


@dataclass(slots=True)
class Served:
    """Where the authority answers, what its certificates are, and what it has been told to do instead."""

    url: str
    certificate: Path
    is_away: bool = False
    answers: bytes | None = None  # these bytes, whatever is asked


def _certificate(name: str, key: Any, by: str, signer: Any, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    for extension, critical in extensions:
        built = built.add_extension(extension, critical=critical)
    return built.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def certificates(folder: Path) -> Path:
    """Make a root and the authority's own certificate and key, and return the root's file."""
    root, own = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    certifies = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    signs = x509.KeyUsage(True, True, False, False, False, False, False, False, False)
    stamps = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.TIME_STAMPING])
    plain = x509.BasicConstraints(ca=False, path_length=None)
    is_root = x509.BasicConstraints(ca=True, path_length=None)
    (folder / "root.pem").write_bytes(
        _certificate("Root of the tests", root, "Root of the tests", root, (is_root, True), (certifies, True))
    )
    (folder / "tsa.pem").write_bytes(
        _certificate("Authority", own, "Root of the tests", root, (plain, True), (signs, True), (stamps, True))
    )
    (folder / "tsa.key").write_bytes(
        own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "root.pem"


@contextmanager
def timestamp_authority(folder: Path) -> Iterator[Served]:
    """Serve an authority until the block ends."""
    folder.mkdir()
    root = certificates(folder)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            (folder / "asked.tsq").write_bytes(asked)
            command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "here", "-queryfile", "asked.tsq"]
            command += ["-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "said.tsr"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            self.send_response(503 if served.is_away else 200)
            self.end_headers()
            self.wfile.write(served.answers or (folder / "said.tsr").read_bytes())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(url=f"http://127.0.0.1:{server.server_port}/", certificate=root)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
