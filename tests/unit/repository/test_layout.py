"""House rules over the source itself: which way imports run, how long things get, what is documented, whose data it is.

Each rule is a function from source text to complaints, so that a table can plant what it must catch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
FILE_LINES, FUNCTION_LINES = 400, 60

# flows → tasks → {revs, infra}: what each package may import of ours.
MAY_IMPORT = {
    "revs": {"revs"},
    "infra": {"infra", "revs"},
    "tasks": {"tasks", "infra", "revs"},
    "flows": {"flows", "tasks", "infra", "revs"},
}
# Each of these has one home; its replacement or its next release touches nothing else.
HOMES = {
    "mlflow": ("infra.registry",),
    **dict.fromkeys(("model_signing", "securesystemslib"), ("infra.registry.bundles",)),
    **dict.fromkeys(("cyclonedx", "packageurl"), ("infra.registry.bom",)),
    "great_expectations": ("infra.gates",),
    "presidio_analyzer": ("infra.detection",),
    **dict.fromkeys(("sqlalchemy", "alembic"), ("infra.requests",)),
    "apprise": ("infra.notices",),
    "fastapi": ("infra.service", "flows.cli.service"),
    "prefect": ("flows", "tasks", "infra.running.deployment", "infra.keys.blocks"),
    **dict.fromkeys(("boto3", "botocore"), ("infra.keys.aws", "infra.registry.removal")),
}

# The floors of revs/: a room uses only rooms below it.
FLOORS = (
    {"errors"},
    {"config"},
    {"model"},
    {"patch", "development"},
    {"targets"},
    {"edit", "evaluation"},
    {"methods", "discover"},
    {"erasure"},
)
LOOSE_FILES = 8  # at the top of revs/ and of infra/; of tasks/ none

ADDRESS = re.compile(r"[\w.%+-]+@((?:[a-z0-9-]+\.)+[a-z]{2,})", re.IGNORECASE)
RESERVED = re.compile(r"(?:.+\.)?(?:example\.(?:com|org|net)|[a-z0-9-]+\.(?:invalid|test|example))", re.IGNORECASE)
# Rows of the matching tests that must not count as an address under example.com.
LOOK_ALIKES = {"example.com.au", "example.community", "example.com-shop.org"}
TEXT_SUFFIXES = {".py", ".json", ".jsonl", ".csv", ".txt", ".yaml", ".yml", ".toml", ".md", ".j2", ".html", ".css"}


class Module(NamedTuple):
    name: str
    path: Path
    source: str
    tree: ast.Module


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the four packages, parsed once."""
    found = []
    for path in sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        source = path.read_text(encoding="utf-8")
        found.append(Module(name, path, source, ast.parse(source)))
    return tuple(found)


def imported(tree: ast.Module, *, package: str) -> Iterator[str]:
    """Dotted names that are imported anywhere in a module of `package`: also in functions, relatively and by name."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, level=0) if module:
                yield module
            case ast.ImportFrom(module=module, level=level):
                base = package.split(".")
                yield ".".join(base[: len(base) - level + 1] + ([module] if module else []))
            case ast.Call(
                func=ast.Attribute(attr=called) | ast.Name(id=called), args=[ast.Constant(value=str(name)), *_]
            ):
                if called in {"import_module", "__import__"}:
                    yield name


def within(name: str, homes: tuple[str, ...]) -> bool:
    return any(name == home or name.startswith(f"{home}.") for home in homes)


def import_complaints(name: str, tree: ast.Module, *, is_package: bool = False) -> list[str]:
    """Imports of a module that run the wrong way or reach a library outside its home."""
    mine = name.split(".")[0]
    complaints = []
    for target in imported(tree, package=name if is_package else name.rpartition(".")[0]):
        top = target.split(".")[0]
        if top in MAY_IMPORT and top not in MAY_IMPORT[mine]:
            complaints.append(f"{name} imports {target}: imports run flows → tasks → {{revs, infra}}")
        if top in HOMES and not within(name, HOMES[top]):
            complaints.append(f"{name} imports {target}: only {' and '.join(HOMES[top])} may")
    return complaints


def floor_complaints(name: str, targets: Iterable[str]) -> list[str]:
    """Imports of a module of revs/ from a room that is not below its own."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    mine, *_ = [*name.split(".")[1:], ""]
    if not mine:
        return []  # revs itself hands everything on
    theirs = {target: target.split(".")[1] for target in targets if target.startswith("revs.")}
    return [
        f"{name} imports {target}: {mine} may use only rooms below it"
        for target, room in theirs.items()
        if room != mine and floor[room] >= floor[mine]
    ]


def circle(imports: Mapping[str, Iterable[str]]) -> list[str]:
    """Modules that import one another in a circle, the first also last; none where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def environment_complaints(name: str, tree: ast.Module) -> list[str]:
    """Places where a module of the library reads or writes the environment."""
    return [
        f"{name}:{node.lineno} uses {node.attr}: revs knows nothing of the environment, take an argument"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "putenv"}
    ]


def print_complaints(name: str, tree: ast.Module) -> list[str]:
    return [
        f"{name}:{node.lineno} prints: return a value, log, or use the console of the command line"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def length_complaints(name: str, source: str, tree: ast.Module) -> list[str]:
    """Files and functions that are too long; a docstring does not count, so that no contract is cut to fit."""
    lines = source.count("\n") + 1
    complaints = [f"{name} has {lines} lines; stop at {FILE_LINES}"] if lines > FILE_LINES else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            long = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                long -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if long > FUNCTION_LINES:
                complaints.append(f"{name}:{node.lineno} {node.name} has {long} lines; stop at {FUNCTION_LINES}")
    return complaints


def exports(tree: ast.Module) -> list[str]:
    """The names in `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def definition(name: str, tree: ast.Module, trees: dict[str, ast.Module]) -> ast.AST | None:
    """The function or class behind an exported name, followed through re-exports; None for a plain value."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            return node
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in trees:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return definition(alias.name, trees[node.module], trees)
    return None


def undocumented(trees: dict[str, ast.Module]) -> list[str]:
    """Exported functions and classes without a docstring."""
    complaints = []
    for module, tree in trees.items():
        for name in exports(tree):
            node = definition(name, tree, trees)
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not ast.get_docstring(node):
                complaints.append(f"{module}.{name} is exported without a docstring")
    return complaints


def address_complaints(where: str, text: str) -> list[str]:
    """E-mail addresses that could be somebody's: the domain is not one reserved for documentation (RFC 2606)."""
    if "@" not in text:
        return []
    return [
        f"{where}: address at {match[1]}; invented people live under example.com"
        for match in ADDRESS.finditer(text)
        if not RESERVED.fullmatch(match[1]) and match[1].lower() not in LOOK_ALIKES
    ]


def test_imports_run_one_way_and_each_foreign_library_has_one_home() -> None:
    assert [
        complaint
        for module in modules()
        for complaint in import_complaints(module.name, module.tree, is_package=module.path.stem == "__init__")
    ] == []


def test_what_the_stages_of_a_batch_share_knows_no_stage() -> None:
    assert [
        f"{module.name} imports {target}: imports run from tasks.stages to tasks.batch"
        for module in modules()
        if within(module.name, ("tasks.batch",))
        for target in imported(module.tree, package=module.name.rpartition(".")[0])
        if within(target, ("tasks.stages",))
    ] == []


@cache
def imports_of_modules() -> dict[str, set[str]]:
    """What each module imports of ours: a name that is a module counts as that module, not as its package."""
    known = {module.name for module in modules()}
    found = {}
    for module in modules():
        names = {
            f"{node.module}.{alias.name}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        exact = names & known
        homes = {name.rpartition(".")[0] for name in names - exact} & known
        found[module.name] = (exact | homes) - {module.name}
    return found


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert circle(imports_of_modules()) == []


def test_a_room_of_the_library_uses_only_rooms_below_it() -> None:
    assert [
        complaint
        for name, targets in imports_of_modules().items()
        if within(name, ("revs",))
        for complaint in floor_complaints(name, targets)
    ] == []


def test_every_module_stands_in_a_room() -> None:
    loose = {package: {path.stem for path in (ROOT / package).glob("*.py")} for package in ("revs", "infra", "tasks")}
    assert len(loose["revs"]) <= LOOSE_FILES and len(loose["infra"]) <= LOOSE_FILES, "put it in the room it serves"
    assert loose["tasks"] == {"__init__"}, "a stage goes into stages/, what it stands on into the room it serves"


def test_the_library_knows_nothing_of_the_environment() -> None:
    assert [
        complaint
        for module in modules()
        if within(module.name, ("revs",))
        for complaint in environment_complaints(module.name, module.tree)
    ] == []


def test_nothing_is_printed() -> None:
    assert [complaint for module in modules() for complaint in print_complaints(module.name, module.tree)] == []


def test_files_and_functions_stay_short() -> None:
    assert [
        complaint for module in modules() for complaint in length_complaints(module.name, module.source, module.tree)
    ] == []


def test_files_of_tests_stay_short() -> None:
    """Their functions may be as long as a table or a script for another process is."""
    empty = ast.parse("")
    assert [
        complaint
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for complaint in length_complaints(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), empty)
    ] == []


def test_every_exported_function_and_class_of_the_library_is_documented() -> None:
    trees = {module.name: module.tree for module in modules() if within(module.name, ("revs",))}
    assert {"erase", "evaluate", "load"} <= set(exports(trees["revs"]))
    assert undocumented(trees) == []


def test_only_invented_people_appear_in_the_repository() -> None:
    paths = [path for folder in (*MAY_IMPORT, "tests") for path in (ROOT / folder).rglob("*")]
    texts = [path for path in [*paths, *ROOT.glob("*")] if path.suffix in TEXT_SUFFIXES and path.is_file()]
    assert [
        complaint
        for path in texts
        for complaint in address_complaints(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize(
    ("module", "source", "complaints"),
    [
        ("revs.edit.edit", "import prefect", 1),
        ("revs.edit.edit", "def late():\n    from mlflow.entities import Run", 1),  # inside a function too
        ("revs.edit.edit", "import_module('infra.keys.vault')", 1),
        ("revs.edit.edit", "from ...infra import vault", 1),  # relative: out of the package
        ("revs.edit.edit", "from . import patch", 0),
        ("revs.edit.edit", "import torch\nfrom revs.errors import BadInput", 0),
        ("infra.keys.vault", "from tasks import erasing", 1),
        ("infra.keys.vault", "import flows.cli", 1),
        ("infra.keys.vault", "from revs.errors import BadInput", 0),
        ("infra.registry.service", "import mlflow", 0),
        ("infra.registryother", "import mlflow", 1),  # a name that only starts like the home
        ("infra.registry", "import great_expectations as gx", 1),
        ("infra.search.occurrences", "from presidio_analyzer import AnalyzerEngine", 1),
        ("tasks.intake", "import sqlalchemy.orm", 1),
        ("tasks.intake", "from flows import process", 1),
        ("tasks.intake", "from prefect import task\nfrom infra.requests import RequestStore", 0),
        ("flows.process", "from tasks import intake\nimport revs", 0),
        ("flows.process", "import mlflow_extras", 0),  # another library
    ],
)
def test_an_import_is_refused_exactly_when_it_breaks_the_layout(module: str, source: str, complaints: int) -> None:
    assert len(import_complaints(module, ast.parse(source))) == complaints


@pytest.mark.parametrize(
    ("module", "target", "complaints"),
    [
        ("revs.edit.sweep", "revs.model.hooks", 0),
        ("revs.edit.sweep", "revs.edit.solver", 0),
        ("revs.model.hooks", "revs.edit.sweep", 1),
        ("revs.edit.sweep", "revs.evaluation.ranks", 1),  # on the same floor
        ("revs.targets.target", "revs.erasure", 1),
        ("revs.erasure", "revs.methods.neurons", 0),
        ("revs", "revs.erasure", 0),
    ],
)
def test_an_import_from_a_room_above_is_refused(module: str, target: str, complaints: int) -> None:
    assert len(floor_complaints(module, [target])) == complaints


def test_a_circle_of_three_is_found_and_a_diamond_is_none() -> None:
    assert set(circle({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})) == {"a", "b", "c"}
    assert circle({"a": ["b", "c"], "b": ["d"], "c": ["d"]}) == []


@pytest.mark.parametrize(
    ("lines", "complaints"),
    [(60, 0), (61, 1)],
)
def test_a_function_may_have_sixty_lines_beside_its_docstring(lines: int, complaints: int) -> None:
    source = "def long():\n" + '    """One.\n\n    Two.\n    """\n' + "    pass\n" * (lines - 1)
    assert len(length_complaints("m", source, ast.parse(source))) == complaints


def test_a_file_may_have_four_hundred_lines() -> None:
    assert [len(length_complaints("m", "\n" * (n - 1), ast.parse(""))) for n in (400, 401)] == [0, 1]


def test_printing_and_reading_the_environment_are_seen() -> None:
    tree = ast.parse("import os\nprint(os.environ)\nconsole.print(os.getenv('HOME'))")
    assert (len(print_complaints("m", tree)), len(environment_complaints("m", tree))) == (1, 2)


def test_a_missing_docstring_is_found_behind_a_re_export() -> None:
    home = ast.parse("def erase(): pass\ndef load():\n    'Load.'\nLIMIT = 3")
    face = ast.parse("if TYPE_CHECKING:\n    from home import LIMIT, erase, load\n__all__ = ['LIMIT', 'erase', 'load']")
    assert undocumented({"face": face, "home": home}) == ["face.erase is exported without a docstring"]


@pytest.mark.parametrize(
    ("domain", "complaints"),
    [
        ("example.com", 0),
        ("mail.EXAMPLE.org", 0),
        ("firm.invalid", 0),
        ("a.firm.test", 0),
        ("notexample.com", 1),
        ("example.com.firm.de", 1),
        ("firm.de", 1),
        ("example.community", 0),  # in the table of look-alikes
    ],
)
def test_an_address_is_invented_exactly_under_a_reserved_domain(domain: str, complaints: int) -> None:
    assert len(address_complaints("here", f"write to jane.roe+x@{domain}, please")) == complaints
