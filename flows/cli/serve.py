"""`revs serve`: Prefect server, MLflow server and the schedule on this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, console, emit, model_cache, settings_of, showing_stages
from revs.errors import BadInput

if TYPE_CHECKING:
    from infra.running.children import Children
    from infra.settings import Settings

START_SECONDS = 180.0  # how long each server may take; on a busy machine they need a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is served: addresses of the two servers (`own_*`: started here), models, and when they are looked after."""

    prefect: str
    mlflow: str
    own_prefect: bool
    own_mlflow: bool
    models: tuple[str, ...]
    every: float | None
    cron: str | None
    home: str
    sample: str | None


def serve(
    home: Home = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Registered model to serve; repeatable. Default: all with a champion.")
    ] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="Seconds between two looks for requests; default 60.")
    ] = None,
    cron: Annotated[str | None, typer.Option(help="Cron expression (UTC) instead of --every.")] = None,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow server.")] = 5000,
    no_demo: Annotated[
        bool, typer.Option("--no-demo", help="Do not train a demo model where none is registered.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of trained demo models; default: the user's cache.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run both servers and the scheduled deployments on 127.0.0.1 until Ctrl-C or SIGTERM.

    Requests handed in with 'revs requests add' are processed by the schedule, one batch at a time. Every look for them
    is a process of its own, which takes some seconds of one core. Models registered later are served after a restart.
    Where PREFECT_API_URL or REVS_MLFLOW_TRACKING_URI name a server, that one is used.

    Example: revs serve --every 300
    """
    from infra.running.children import Stopped, only_one, sigterm_interrupts, stop_signals
    from infra.running.deployment import EVERY_SECONDS, check_cron

    if cron is not None and every is not None:
        raise BadInput("--every and --cron both say when; give one of them")
    settings = settings_of(home)
    if cron is not None:
        check_cron(cron)
    with only_one(settings.home / "serve.lock", what=f"'revs serve' already runs on {settings.home}"):
        servers = _servers(settings, prefect_port, mlflow_port)
        with sigterm_interrupts(), showing_stages(quiet=as_json):
            models, sample = _models(settings, model, None if no_demo else model_cache(cache))
        seconds = None if cron else float(every or EVERY_SECONDS)
        plan = Plan(**servers, models=models, every=seconds, cron=cron, home=str(settings.home), sample=sample)
        with stop_signals() as stop, suppress(Stopped):
            _run(settings, plan, stop, as_json=as_json)
    if not as_json:
        console().print("stopped; what was begun is resumed by the next run")


def _servers(settings: Settings, prefect_port: int, mlflow_port: int) -> dict[str, Any]:
    """The addresses of the servers; those that will be ours must be free."""
    from infra.running.children import HOST, require_free

    own = {"prefect": not os.environ.get("PREFECT_API_URL"), "mlflow": not settings.tracking_uri.startswith("http")}
    if prefect_port == mlflow_port and all(own.values()):
        raise BadInput(f"--prefect-port and --mlflow-port are both {mlflow_port}; give two ports")
    for name, port in (("prefect", prefect_port), ("mlflow", mlflow_port)):
        if own[name]:
            require_free(port, option=f"--{name}-port")
    return {
        "prefect": f"http://{HOST}:{prefect_port}" if own["prefect"] else os.environ["PREFECT_API_URL"],
        "mlflow": f"http://{HOST}:{mlflow_port}" if own["mlflow"] else settings.tracking_uri,
        "own_prefect": own["prefect"],
        "own_mlflow": own["mlflow"],
    }


def _models(settings: Settings, named: list[str] | None, cache: Path | None) -> tuple[tuple[str, ...], str | None]:
    """The models to serve, and a sample request file where there is one. An empty registry gets the demo model."""
    from infra.registry import open_registry

    registry = open_registry(settings)
    if not named and not registry.names():
        if cache is None:
            raise BadInput(
                f"no model is registered in {settings.home}; register one with 'revs process', or leave out --no-demo"
            )
        from flows.demo import install_demo
        from flows.demo_models import NAME

        return (NAME,), str(install_demo(settings, cache).requests)
    served = []
    for name in dict.fromkeys(named or registry.names()):
        try:
            served.append(registry.champion(name).name)
        except BadInput:
            if named:
                raise
    if not served:
        raise BadInput(
            f"no registered model in {settings.home} has a champion; give one the alias, or register another"
        )
    sample = settings.home / "demo" / "requests.jsonl"
    return tuple(served), str(sample) if sample.exists() and "demo" in served else None


def _run(settings: Settings, plan: Plan, stop: threading.Event, *, as_json: bool) -> None:
    """Start everything, say where it is, and stay until a signal comes or a child ends."""
    from infra.running.children import Children

    with Children(settings.home / "logs", stop) as children:
        if not as_json:
            console().print("starting the servers; this takes up to a minute")
        _start_servers(settings, plan, children)
        _start_schedule(settings, plan, children)
        _tell(plan, as_json=as_json)
        children.watch()


def _start_servers(settings: Settings, plan: Plan, children: Children) -> None:
    from infra.running.children import answers
    from infra.running.deployment import mlflow_server, prefect_server

    if plan.own_prefect:
        os.environ["PREFECT_API_URL"] = f"{plan.prefect}/api"
        children.start("prefect", *prefect_server(_port(plan.prefect)))
    if plan.own_mlflow:
        children.start("mlflow", *mlflow_server(settings, _port(plan.mlflow)))
    if plan.own_prefect:
        children.wait_until("prefect", lambda: answers(f"{plan.prefect}/api/health"), seconds=START_SECONDS)
    if plan.own_mlflow:
        children.wait_until("mlflow", lambda: answers(f"{plan.mlflow}/health"), seconds=START_SECONDS)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _start_schedule(settings: Settings, plan: Plan, children: Children) -> None:
    from infra.running.deployment import schedule

    ready = settings.home / "serve.ready"
    ready.unlink(missing_ok=True)
    config = {
        "models": plan.models,
        "every": plan.every,
        "cron": plan.cron,
        "ready": str(ready),
        "own_server": plan.own_prefect,
        "mlflow": plan.mlflow if plan.own_mlflow else None,
    }
    children.start("schedule", *schedule(config), ending=signal.SIGINT)
    children.wait_until("schedule", ready.exists, seconds=START_SECONDS)


def _tell(plan: Plan, *, as_json: bool) -> None:
    from infra.running.children import shown
    from infra.running.deployment import UPKEEP

    if as_json:
        emit(asdict(plan) | {"prefect": shown(plan.prefect), "mlflow": shown(plan.mlflow)})
    else:
        when = f"cron {plan.cron!r} (UTC)" if plan.cron else f"every {plan.every:g} s"
        theirs = {True: "", False: "  (yours; not started here)"}
        lines = [
            f"Prefect    {shown(plan.prefect)}{theirs[plan.own_prefect]}",
            f"MLflow     {shown(plan.mlflow)}{theirs[plan.own_mlflow]}",
            f"home       {plan.home} (logs in {plan.home}/logs)",
            f"schedule   {', '.join(plan.models)}: {when}",
            *(f"upkeep     {name}: cron {cron!r} (UTC)" for name, (_, cron, _) in UPKEEP.items()),
            f"hand in    revs requests add FILE --model {plan.models[0]} --home {plan.home}",
            *([f"for example FILE = {plan.sample}: requests of invented people"] if plan.sample else []),
            "Ctrl-C ends all of it",
        ]
        for line in lines:
            console().print(line, soft_wrap=True)
    sys.stdout.flush()
