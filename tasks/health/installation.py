"""What is wrong with an installation, and what to do about it: the checks behind `revs doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as version_of

from infra import notices
from infra.device import resolve_device
from infra.gates.policy import GatePolicy
from infra.keys.signer import Signers, short
from infra.keys.sources import deployment_keys, name_of_source
from infra.permissions import open_to_others
from infra.registry import Registry
from infra.registry.records import SIGNER
from infra.registry.service import local_path
from infra.requests import Clock, RequestStore, heads, timestamps
from infra.requests.inbox import Inbox
from infra.requests.records import UNANSWERED
from infra.settings import Settings
from revs.errors import OperationFailed, RevsError
from tasks.batch.stage import open_registry, open_store
from tasks.health.models import problems_of_model
from tasks.versions.retire import Desk, plan

_LIBRARIES = ("torch", "transformers", "mlflow", "prefect", "datasets")
_NAMED_AT_MOST = 3
_RETIRE = "'revs retire' shows them with the reason, 'revs retire --apply' deletes them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: whether all is in order, and what was found, with the remedy where it is not."""

    check: str
    ok: bool
    finding: str


def examine(load: Callable[[], Settings], *, deep: bool) -> Iterator[Finding]:
    """Run every check, whatever the others find.

    Args:
        load: gives the settings; what is wrong with them is a finding too.
        deep: whether the champions' stored files are read and digested, which takes its time.
    """
    checks: dict[str, Callable[[Settings], str]] = {
        "home": _home,
        "permissions": _permissions,
        "deployment key": _key,
        "signer": _signer,
        "gate policy": _gate_policy,
        "request store and key": _store,
        "audit log": _log,
        "notices": _notices,
        "inbox": _inbox,
        "requests": _requests,
        "batches": _batches,
        "registry": _registry,
        "retention": _retention,
        "disk": _disk,
        "device": _device,
    }
    for name, check in checks.items():
        yield _run(name, _of_settings(check, load))
    yield _run("libraries", lambda: ", ".join(f"{name} {version_of(name)}" for name in _LIBRARIES))
    yield from _models(load, deep=deep)


def _of_settings(check: Callable[[Settings], str], load: Callable[[], Settings]) -> Callable[[], str]:
    return lambda: check(load())


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(check=name, ok=True, finding=check())
    except (RevsError, ImportError, OSError) as error:
        return Finding(check=name, ok=False, finding=" ".join(str(error).split()))


def _refuse(problems: Iterable[str]) -> None:
    if found := list(problems):
        raise OperationFailed("; ".join(found))


def _home(settings: Settings) -> str:
    return str(settings.home)


def _permissions(settings: Settings) -> str:
    """Everything that holds personal data, keys or evidence must be its owner's alone."""
    shut = (
        open_to_others(settings.home) is None
    )  # then nobody else gets at what lies in it; the key is looked at anyway
    keys = [settings.key_file, Signers.of(settings).own]
    paths = keys if shut else [settings.home, *keys, *settings.private_paths]
    modes = [(path, mode) for path in paths if path.exists() and (mode := open_to_others(path))]
    problems = [
        f"{path} can be read by others than its owner ({mode:04o}): run chmod {700 if path.is_dir() else 600} {path}"
        for path, mode in modes
    ]
    artifacts = local_path(settings.artifact_uri)
    seen = artifacts is not None and not (shut and artifacts.is_relative_to(settings.home))
    evidence = artifacts.rglob("evidence.json") if artifacts is not None and seen else ()
    if count := sum(open_to_others(path) is not None for path in evidence):
        problems.append(
            f"{count} evidence.json below {artifacts} can be read by others than their owner: run chmod -R go-rwx "
            f"{artifacts}"
        )
    _refuse(problems)
    return "the home folder and what is in it are their owner's alone"


def _key(settings: Settings) -> str:
    _, *earlier = deployment_keys(settings)
    return f"from {name_of_source(settings)}; it opens" + (f", and {len(earlier)} earlier" if earlier else "")


def _signer(settings: Settings) -> str:
    signers = Signers.of(settings)
    accepted = ", ".join(map(short, signers.accepted()))
    unsigned = "refused" if settings.unsigned == "refuse" else "taken"
    own = "" if signers.named or signers.own.exists() else "; the own key is made when a version is registered"
    return f"signatures of {accepted or 'nobody yet'} count{own}; versions from before signatures are {unsigned}"


def _gate_policy(settings: Settings) -> str:
    shipped = GatePolicy.of(settings.method)
    if settings.gate_policy is None:
        return f"the one that is shipped for REVS_METHOD={settings.method}, {shipped.digest}"
    own = GatePolicy.read(settings.gate_policy)
    looser = own.looser_than(shipped)
    more = f"; it lets more pass than the shipped one in {', '.join(looser)}" if looser else ""
    return f"REVS_GATE_POLICY={settings.gate_policy}, {own.digest}{more}"


def _store(settings: Settings) -> str:
    store = open_store(settings)
    if store.must_rotate():
        raise OperationFailed(
            "what is stored is under an earlier deployment key than the one in use: run 'revs keys rotate'"
        )
    _refuse(store.payload_problems())
    waiting = store.list(status="received")
    return f"{len(waiting)} requests wait; every payload opens and belongs to its request"


def _log(settings: Settings) -> str:
    store = open_store(settings)
    noted = heads.noted(settings.log_heads, begun=any(batch.closed_at for batch in store.batches()))
    if problems := [*store.log_problems(noted), *timestamps.problems(noted, settings.timestamp_certificate)]:
        _refuse([*problems[:_NAMED_AT_MOST], "do not rely on it: restore the request store, find out who had access"])
    elsewhere = f"{len(noted)} ends of it noted in {settings.log_heads}" if settings.log_heads else (
        "no end of it is noted elsewhere (REVS_LOG_HEADS), so one that was cut off with care would pass"
    )  # fmt: skip
    return f"{store.log_head().count} events as they were written; {elsewhere}"


def _notices(settings: Settings) -> str:
    if settings.notices is None:
        return "nobody is told what happens to requests (REVS_NOTICES)"
    waiting = notices.behind(open_store(settings), settings.notices.get_secret_value(), settings.webhook_secrets)
    _refuse(
        f"{place} was not told of {count} events: see what it says to 'revs notices send'"
        for place, count in waiting.items()
        if count
    )
    return f"{', '.join(waiting)}: told of everything"


def _inbox(settings: Settings) -> str:
    if settings.inbox is None:
        return "no folder is looked through for request files (REVS_INBOX)"
    return f"{Inbox(settings.inbox).waiting()} files wait to be taken"


def _requests(settings: Settings) -> str:
    store, names = open_store(settings), set(open_registry(settings).names())
    pending = [view for view in store.list() if view.status in UNANSWERED]
    today = Clock.of(settings).today()
    overdue = [view.id for view in pending if view.due < today]
    lost = [view for view in pending if view.status == "received" and view.model not in names]
    problems = []
    if overdue:
        problems.append(
            f"{len(overdue)} overdue ({_some(overdue)}): process them with 'revs process', or see why they wait with "
            "'revs requests show ID'"
        )
    for model in sorted({view.model for view in lost}):
        ids = [view.id for view in lost if view.model == model]
        problems.append(
            f"{len(ids)} wait for {model!r}, which is not registered ({_some(ids)}): register it with 'revs process "
            "--model FOLDER --name NAME', or hand them in again for a registered model"
        )
    _refuse(problems)
    return f"{len(pending)} pending, none overdue"


def _batches(settings: Settings) -> str:
    store = open_store(settings)
    batches = store.batches()
    open_ones = [batch for batch in batches if batch.status == "open"]
    _refuse(
        f"batch {batch.id} of {batch.model!r} is open since {batch.opened_at:%Y-%m-%d %H:%M} UTC and nobody works on "
        f"it: resume it with 'revs process --model {batch.model}', or give it up with 'revs batches abandon {batch.id}'"
        for batch in open_ones
        if store.holder(batch.id) is None
    )
    waiting = [batch.id for batch in batches if batch.status == "waiting"]
    human = f"; {len(waiting)} wait for a human's 'revs promote' ({_some(waiting)})" if waiting else ""
    return f"{len(batches)} batches, {len(open_ones)} being worked on{human}"


def _registry(settings: Settings) -> str:
    names = open_registry(settings).names()
    return f"{len(names)} registered models: {', '.join(names) or 'none'}"


def _retention(settings: Settings) -> str:
    """Versions whose period has ended and whose bytes are still there: a report says that they are to be deleted."""
    found = plan(Desk.of(settings))
    goes = [each for each in found if each.goes]
    _refuse(
        [
            *(f"{each.what} stays although its day has come: {each.why}" for each in found if each.overdue),
            *([f"{len(goes)} past their day ({_some([each.what for each in goes])}): {_RETIRE}"] if goes else []),
        ]
    )
    waiting = sum(each.until is not None for each in found)
    return f"nothing is past its day; {waiting} versions wait for theirs"


def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(settings.home).free
    if free < 2**30:
        raise OperationFailed(f"{free / 2**30:.1f} GiB free; a candidate is a full copy of the model: free some space")
    return f"{free / 2**30:.0f} GiB free"


def _device(settings: Settings) -> str:
    import torch

    device = resolve_device(settings.device)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{torch.get_num_threads()} threads"
    return f"{device} ({name}), REVS_DEVICE={settings.device}; numbers as stored in the model's files"


def _models(load: Callable[[], Settings], *, deep: bool) -> Iterator[Finding]:
    """One finding for each registered model; none where settings or registry cannot be read, which is said before."""
    try:
        settings = load()
        registry, store = open_registry(settings), open_store(settings)
        names = registry.names()
    except (RevsError, OSError):
        return
    for name in names:
        yield _run(f"model {name}", partial(_model, settings, registry, store, name, deep))


def _model(settings: Settings, registry: Registry, store: RequestStore, name: str, deep: bool) -> str:
    _refuse(problems_of_model(registry, store, name, deep=deep))
    champion = registry.champion(name)
    older = "" if "revs.files" in champion.tags else "; registered before files beside the weights were recorded"
    signed = f"; signed by {short(by)}" if (by := champion.tags.get(SIGNER)) else (
        "; NOT SIGNED: it is from before versions were signed, so nobody would notice what is changed with the MLflow "
        "client alone; a version that a batch makes is signed"
    )  # fmt: skip
    read = "read and unchanged" if deep else "there; --deep reads and digests them"
    return f"champion is version {champion.version}, its files are {read}{signed}{older}"


def _some(ids: list[str]) -> str:
    more = len(ids) - _NAMED_AT_MOST
    return ", ".join(ids[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
