"""`revs service`: the HTTP service of the request store, and the tokens for it."""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import By, Home, Json, console, emit, settings_of, table, who_decides
from flows.cli.requests import registry_of, store_of
from revs.errors import BadInput, OperationFailed

if TYPE_CHECKING:
    from fastapi import FastAPI

    from infra.settings import Settings

PORT = 8300
_REMEMBERED_SECONDS = 30  # which models there are
_LOGGERS = ("revs.service", "uvicorn.error")

app = typer.Typer(help="The HTTP service: an API and pages for deletion requests.", no_args_is_help=True)
token_app = typer.Typer(help="Who may use the service, and as what.", no_args_is_help=True)
app.add_typer(token_app, name="token")


@app.command()
def run(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = PORT,
    certificate: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="TLS certificate (PEM), with --key.")
    ] = None,
    key: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="TLS key (PEM).")] = None,
    proxy: Annotated[
        str | None,
        typer.Option(help="Address or network of the TLS proxy in front, whose X-Forwarded headers are believed."),
    ] = None,
    home: Home = None,
) -> None:
    """Run the service until Ctrl-C or SIGTERM. The pages are at /, the API is described at /v1/openapi.json.

    Tokens and personal data go over this connection: anywhere but on this machine it needs TLS, its own
    (--certificate and --key) or that of a proxy in front (--proxy).

    Example: revs service run --port 8300
    """
    if (certificate is None) != (key is None):
        raise BadInput("--certificate and --key go together; give both, or neither")
    if not (_is_this_machine(host) or certificate or proxy):
        raise BadInput(
            f"--host {host} is reached from elsewhere, and tokens would travel readably: give --certificate and --key, "
            "or --proxy with the address of the TLS proxy in front"
        )
    proxies = _proxies(proxy)
    if certificate and key:
        _refuse_broken_tls(certificate, key)
    settings = settings_of(home)
    listening = _socket(host, port)
    with closing(listening):
        service = _service(settings)
        shown = f"{'https' if certificate else 'http'}://{host}:{listening.getsockname()[1]}"
        console().print(f"serving {shown}; Ctrl-C ends it", soft_wrap=True)
        sys.stdout.flush()
        _serve(service, listening, certificate=certificate, key=key, proxies=proxies)
    console().print("stopped")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _proxies(text: str | None) -> str | None:
    """Return the addresses and networks of proxies, commas between; None where there are none.

    Raises:
        BadInput: One is neither. A star would believe whatever address any caller names.
    """
    if text is None:
        return None
    named = [part.strip() for part in text.split(",")]
    for each in named:
        try:
            ipaddress.ip_network(each, strict=False)
        except ValueError:
            raise BadInput(
                f"--proxy {each!r} is no address; give that of the proxy, such as 10.0.0.2, or its network, such as "
                "10.0.0.0/28, commas between several"
            ) from None
    return ",".join(named)


def _refuse_broken_tls(certificate: Path, key: Path) -> None:
    import ssl

    def refuse() -> str:
        raise BadInput(f"--key {key} is encrypted; give one without a password, readable by this user alone")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=refuse)
    except OSError as error:  # ssl.SSLError is one
        ours = "no PEM" if isinstance(error, ssl.SSLError) else error.strerror
        why = (getattr(error, "reason", None) or ours or "unreadable").replace("_", " ").lower()
        raise BadInput(
            f"--certificate {certificate} and --key {key} cannot be used ({why}); give a certificate and its own key, "
            "both as PEM"
        ) from None


def _socket(host: str, port: int) -> socket.socket:
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Connections have it from here. Without it an answer waits some 40 ms for the caller to confirm its headers.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        why = (error.strerror or "no such address").lower()
        raise BadInput(f"port {port} of {host} cannot be used ({why}); choose another with --port or --host") from None


def _service(settings: Settings) -> FastAPI:
    from infra.keys.vault import Vault
    from infra.requests.approvals import Approvals
    from infra.service import new_app

    models, generation = _models(settings)
    with suppress(OperationFailed):  # read once before the first call; a registry that is down is met again there
        models()
    store, secret = store_of(settings, stay_connected=True), settings.mlflow_webhook_secret
    return new_app(
        store,
        models=models,
        generation=generation,
        session_key=Vault.from_settings(settings).pseudonym("session key", kind="service"),
        approvals=Approvals(store, role=settings.approver_role, days=settings.approval_days),
        webhook_secret=None if secret is None else secret.get_secret_value(),
        hint=_hints(),
    )


def _hints() -> Callable[[Collection[str]], None]:
    """What asks for runs of flows; however many hints come together, of each flow for one."""
    from datetime import UTC, datetime

    from infra.running.deployment import ask_for_run, next_look

    asked: dict[str, datetime] = {}
    one = threading.Lock()

    def hint(flows: Collection[str]) -> None:
        at = next_look(datetime.now(UTC))
        with one:
            due = [name for name in flows if asked.get(name) != at]
            asked.update(dict.fromkeys(due, at))
        for name in due:  # what asks for the same meanwhile waits for no Prefect server
            ask_for_run(name, at)

    return hint


def _models(settings: Settings) -> tuple[Callable[[], Collection[str]], Callable[[str], str]]:
    """What tells the registered models, and as what a model was trained; both remember it for a while."""
    from cachetools import TTLCache, cached

    from infra.registry.generation import generation_of

    def models() -> Collection[str]:
        registry = registry_of(settings)
        return registry.names() if registry else []

    def generation(model: str) -> str:
        registry = registry_of(settings)
        return generation_of(registry, model) if registry else ""

    def remembered(ask: Any) -> Any:
        return cached(TTLCache(100, _REMEMBERED_SECONDS), lock=threading.Lock())(ask)

    return remembered(models), remembered(generation)


def _serve(
    service: FastAPI, listening: socket.socket, *, certificate: Path | None, key: Path | None, proxies: str | None
) -> None:
    import logging

    import uvicorn

    from infra.running.children import sigterm_interrupts

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    config = uvicorn.Config(
        service,
        log_config=None,
        access_log=False,  # it would hold whatever people type into an address
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies or "",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        timeout_graceful_shutdown=10,
    )
    with sigterm_interrupts(), suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _tokens(home: Path | None) -> Any:
    from infra.requests.tokens import Tokens

    return Tokens(store_of(settings_of(home)))


@token_app.command()
def add(
    role: Annotated[str, typer.Option(help="submitter, officer, operator or auditor.")],
    name: Annotated[str, typer.Option(help="Who holds it, for the audit log; never given twice.")],
    days: Annotated[int, typer.Option(help="Days until it expires.")] = 365,
    by: By = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it; it is told this once.

    Example: revs service token add --role officer --name 'A. Officer'
    """
    token, secret = _tokens(home).add(role=role, name=name, days=days, by=who_decides(by))
    if as_json:
        emit(asdict(token) | {"token": secret})
        return
    console().print(f"{token.id}, {token.role}, until {token.expires_at:%Y-%m-%d}; this is told once:")
    sys.stdout.write(f"{secret}\n")  # alone on its line, whatever the width


@token_app.command("list")
def list_tokens(home: Home = None, as_json: Json = False) -> None:
    """List the tokens, without what makes them tokens.

    Example: revs service token list
    """
    tokens = _tokens(home).list()
    if as_json:
        emit([asdict(token) for token in tokens])
        return
    rows = [
        {
            "id": token.id,
            "name": token.name,
            "role": token.role,
            "made": f"{token.made_at:%Y-%m-%d}",
            "expires": f"{token.expires_at:%Y-%m-%d}",
            "revoked": f"{token.revoked_at:%Y-%m-%d}" if token.revoked_at else None,
            "last used": token.last_used,
        }
        for token in tokens
    ]
    table("tokens", rows)


@token_app.command()
def revoke(token_id: str, by: By = None, home: Home = None) -> None:
    """End a token at once, and every session that was opened with it.

    Example: revs service token revoke T-0a1b2c3d
    """
    token = _tokens(home).revoke(token_id, by=who_decides(by))
    console().print(f"{token.id} ({token.name}) opens nothing any more")
