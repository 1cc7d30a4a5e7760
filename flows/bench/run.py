"""Run the comparison: choose settings on a validation model, measure every method on every other, write the results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flows.bench.measure import CONTROLS, Subject, control_row, method_row
from flows.bench.plan import VALIDATION_SEED, Plan
from flows.bench.plots import write_plots
from flows.bench.rows import Identity, Row, read_row, row_of, write_row, write_text
from flows.bench.settings import settings_of
from flows.bench.tables import markdown
from revs.config import EraseConfig
from revs.development import build
from revs.errors import BadInput
from tasks.batch.evidence import commit

Progress = Callable[[str, int, int, str], None]  # stage, done, total, what


@dataclass(slots=True, kw_only=True)
class Bench:
    """A run under way: the plan, what was measured or found so far, and how many rows had to be computed."""

    plan: Plan
    progress: Progress = lambda *_: None
    versions: dict[str, str] = field(
        default_factory=lambda: {name: version(name) for name in ("revs", "torch", "transformers")}
    )
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    computed: int = 0

    def subject(self, architecture: str, seed: int, *, controlled: bool = True) -> Subject:
        """Train, or take from the cache, the model and, where asked for, its never-trained control."""
        stage = f"{architecture}, seed {seed}"
        recipe = self.plan.recipe(architecture, seed)
        recipes = {"model": recipe, **({"never trained": recipe.never_trained()} if controlled else {})}
        built = {
            what: build(recipe, self.plan.cache, progress=partial(self._training, stage, what))
            for what, recipe in recipes.items()
        }
        self.models[stage] = {what: model.digest for what, model in built.items()}
        return Subject(development=built["model"], control=built.get("never trained"))

    def _training(self, stage: str, what: str, step: int, steps: int, loss: float) -> None:
        self.progress(stage, step, steps + 1, f"training, {what}: loss {loss:.2f}")

    def row(self, subject: Subject, method: str, setting: EraseConfig | None, *, folder: str, metrics: str) -> Row:
        """A row of the folder, measured now unless it is there."""
        identity = Identity(
            architecture=subject.development.recipe.architecture,
            seed=subject.development.recipe.seed,
            method=method,
            config=asdict(setting) if setting is not None else {},
            model=subject.development.digest,
            control=subject.control.digest if subject.control else "",
            metrics=metrics,
            versions=self.versions,
        )
        found = read_row(self.plan.out / folder, identity)
        if found is None:
            found = control_row(subject, identity) if setting is None else method_row(subject, identity, setting)
            write_row(self.plan.out / folder, found)
            self.computed += 1
        return found

    def search(self, architecture: str) -> list[Row]:
        """Every setting of every method that has a choice, on the validation model, by the standard metrics."""
        points = [(method, setting) for method in self.plan.methods for setting in self._choice(method)]
        if not points:
            return []
        subject = self.subject(architecture, VALIDATION_SEED, controlled=False)
        rows = []
        for number, (method, setting) in enumerate(points, start=1):
            self.progress(f"{architecture}, settings", number, len(points) + 1, method)
            rows.append(self.row(subject, method, setting, folder="search", metrics="standard"))
        return rows

    def _choice(self, method: str) -> list[EraseConfig]:
        settings = settings_of(method)
        return settings if len(settings) > 1 and not self.plan.quick else []

    def compare(self, architecture: str, seed: int, searched: list[Row]) -> list[Row]:
        """The rows of one model: the two controls, and each method with its setting."""
        stage = f"{architecture}, seed {seed}"
        subject = self.subject(architecture, seed)
        points: list[tuple[str, EraseConfig | None]] = [(control, None) for control in CONTROLS]
        points += [(method, chosen(method, searched)) for method in self.plan.methods]
        rows = []
        for number, (method, setting) in enumerate(points, start=1):
            self.progress(stage, number, len(points) + 1, method)
            rows.append(self.row(subject, method, setting, folder="rows", metrics=self.plan.metrics))
        self.progress(stage, 1, 1, f"{len(rows)} rows")
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The search of an earlier run."""

    date: str
    commit: str
    searched: list[Row]

    @classmethod
    def read(cls, path: Path) -> Earlier:
        """Read what `run` wrote.

        Raises:
            BadInput: it is none.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            about = found.get("search_of") or found
            rows = [row_of(row) for row in found["search"]]
            return cls(date=str(about["date"]), commit=str(about["commit"]), searched=rows)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise BadInput(f"{path} is no methods.json of a run of revs bench methods; give one") from None

    def rows(self, architecture: str) -> list[Row]:
        return [row for row in self.searched if row.identity.architecture == architecture]

    @property
    def line(self) -> str:
        """For the page."""
        return (
            f"- Settings of the baselines were not searched anew: they are the best of the search of {self.date}, "
            f"commit {self.commit[:12]}, on the model of seed {VALIDATION_SEED}"
        )


def chosen(method: str, searched: list[Row]) -> EraseConfig:
    """The setting with the best unlearning score; the first where scores are equal, or where nothing was searched.

    `revs` is always compared with its defaults; its other settings are for the picture of strengths alone.
    """
    settings = settings_of(method)
    found = [row for row in searched if row.method == method]
    if not found or method == "revs":
        return settings[0]
    every = [asdict(setting) for setting in settings]
    axes = [name for name in every[0] if any(one[name] != every[0][name] for one in every)]
    scores = [
        next((row.scores.get("unlearning_score", -1.0) for row in found if _on(row, one, axes)), -1.0) for one in every
    ]
    return settings[scores.index(max(scores))]


def _on(row: Row, setting: dict[str, Any], axes: list[str]) -> bool:
    """Whether the row is of this setting, by what the settings of its method differ in."""
    return all(row.identity.config.get(name) == setting[name] for name in axes)


def run(plan: Plan, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Everything of the plan; writes methods.json, and a table and plots per architecture.

    Returns:
        What methods.json holds, and `computed`: how many rows were measured now rather than found.
    """
    bench = Bench(plan=plan, progress=progress)
    earlier = Earlier.read(plan.settings_of) if plan.settings_of is not None else None
    searched: list[Row] = []
    rows: list[Row] = []
    for architecture in plan.architectures:
        mine = bench.search(architecture) if earlier is None else earlier.rows(architecture)
        ours = [row for seed in plan.seeds for row in bench.compare(architecture, seed, mine)]
        about = [*provenance(bench, architecture, mine), *([earlier.line] if earlier else [])]
        write_text(plan.out / f"methods-{architecture}.md", markdown(ours, architecture=architecture, provenance=about))
        write_plots(plan.out, ours, [] if earlier else mine, architecture=architecture)
        searched += mine
        rows += ours
    result = {
        "date": plan.date,
        "commit": commit(changed="-dirty"),
        "versions": bench.versions,
        "seeds": list(plan.seeds),
        "validation_seed": VALIDATION_SEED if searched else None,
        "quick": plan.quick,
        "models": bench.models,
        "search_of": {"date": earlier.date, "commit": earlier.commit} if earlier else None,
        "search": [row.to_dict() for row in searched],
        "rows": [row.to_dict() for row in rows],
    }
    write_text(plan.out / "methods.json", json.dumps(result, indent=1, allow_nan=False, default=list))
    return {**result, "computed": bench.computed}


def provenance(bench: Bench, architecture: str, searched: list[Row]) -> list[str]:
    """Where the figures of an architecture come from, as a Markdown list: date, versions, models, settings."""
    default, at = EraseConfig(), commit(changed="-dirty")
    lines = [
        f"- {bench.plan.date or 'no date given'}, commit {at or 'unknown'}, "
        + ", ".join(f"{name} {number}" for name, number in bench.versions.items()),
        *(
            f"- models of {stage}: " + ", ".join(f"{what} `{digest[:23]}…`" for what, digest in digests.items())
            for stage, digests in bench.models.items()
            if stage.startswith(f"{architecture},")
        ),
    ]
    for method in bench.plan.methods:
        setting = asdict(chosen(method, searched))
        own = {name: value for name, value in setting.items() if getattr(default, name, None) != value}
        own.pop("method", None)
        if own:
            said = ", ".join(f"{name} {value}" for name, value in own.items())
            lines.append(f"- `{method}`: {said}")
    return lines
