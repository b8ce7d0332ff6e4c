"""The shape of the source tree: who may import whom, and what every file must have."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "syntype"
# The data's route. A module imports only from its own package and from those before it.
ROUTE = (
    "errors", "files", "recipe", "ownership", "run", "cluster", "collection", "compute", "encoders", "generators", "adaptation",
    "synthesis", "curation", "identification", "study", "apps",
)  # fmt: skip
# The rooms of generators/: each imports only from itself and from those before it. The registry loads families by name.
ROOMS = ("contract", "augmentation", "networks", "copy_paste", "diffusion", "pretrained", "gans", "families", "registry", "engine")
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE = 450


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def station(path: Path) -> str:
    """The package or module of the route to which a file belongs; empty for ``syntype/__init__.py``."""
    part = path.relative_to(SOURCE).parts[0]
    return "" if part in ("__init__.py", "__main__.py") else part.removesuffix(".py")


def imported(tree: ast.Module, path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of a module, those inside functions and those for type checkers too."""
    package = ("syntype", *path.relative_to(SOURCE).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *([node.module] if node.module else ())))
            yield node.lineno, stem
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def out_of_order(tree: ast.Module, path: Path) -> list[str]:
    """Imports from a station later on the route than the file's own."""
    own = ROUTE.index(station(path))
    faults = []
    for line, name in imported(tree, path):
        parts = name.split(".")
        if parts[0] == "syntype" and len(parts) > 1 and parts[1] in ROUTE and ROUTE.index(parts[1]) > own:
            faults.append(f"{name_of(path)}:{line} imports {name}")
    return faults


def room(path: Path) -> str:
    """The room or module of generators/ to which a file belongs; empty for ``generators/__init__.py``."""
    part = path.relative_to(SOURCE / "generators").parts[0]
    return "" if part == "__init__.py" else part.removesuffix(".py")


def out_of_room(tree: ast.Module, path: Path) -> list[str]:
    """Imports of generators/ from a later room than the file's own, and of one family from another."""
    own, faults = room(path), []
    for line, name in imported(tree, path):
        parts = name.split(".")
        if parts[:2] != ["syntype", "generators"] or len(parts) < 3 or parts[2] not in ROOMS:
            continue
        if ROOMS.index(parts[2]) > ROOMS.index(own) or (parts[2] == own == "families"):
            faults.append(f"{name_of(path)}:{line} imports {name}")
    return faults


def module_name(path: Path) -> str:
    return ".".join(("syntype", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def first_cycle(trees: Mapping[Path, ast.Module]) -> list[str]:
    """Modules that import one another in a circle, the first one again at the end; empty without a circle."""
    names = {module_name(path): path for path in trees}
    needs = {name: {other for _, other in imported(trees[path], path) if other in names and other != name} for name, path in names.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def test_every_station_of_the_route_exists_and_no_other() -> None:
    found = {station(path) for path in MODULES} - {""}
    assert found == set(ROUTE)


@pytest.mark.parametrize("path", [path for path in MODULES if station(path)], ids=name_of)
def test_a_module_imports_only_from_those_before_it(path: Path) -> None:
    assert out_of_order(parse(path), path) == []


def test_the_rule_sees_imports_in_functions_and_relative_ones() -> None:
    path = SOURCE / "encoders" / "made_up.py"
    hidden = ast.parse("def f():\n    from syntype.study import study\n    from .. import apps\n    from ..collection import Collection\n")
    assert len(out_of_order(hidden, path)) == 3  # syntype.study, syntype.study.study, syntype.apps


GENERATORS = [path for path in MODULES if station(path) == "generators"]


def test_generators_have_these_rooms_and_no_other() -> None:
    assert {room(path) for path in GENERATORS} - {""} == set(ROOMS)


@pytest.mark.parametrize("path", [path for path in GENERATORS if room(path)], ids=name_of)
def test_a_room_imports_only_from_those_before_it_and_no_family_a_family(path: Path) -> None:
    assert out_of_room(parse(path), path) == []


def test_the_rule_of_rooms_sees_families_that_import_families_and_rooms_that_import_them() -> None:
    family, network = SOURCE / "generators" / "families" / "made_up.py", SOURCE / "generators" / "networks" / "made_up.py"
    code = ast.parse("from syntype.generators.families.dcgan import DCGAN\nfrom syntype.generators.networks import unet\n")
    assert len(out_of_room(code, family)) == 2  # the module, and the name in it
    assert len(out_of_room(code, network)) == 2
    assert out_of_room(ast.parse("from syntype.generators.engine.training import train"), family)


def test_the_folder_of_families_holds_families_alone() -> None:
    from syntype.generators import family, list_families

    files = {path.stem for path in (SOURCE / "generators" / "families").glob("*.py")} - {"__init__"}
    assert files == set(list_families())
    for name in files:
        assert family(name).__module__ == f"syntype.generators.families.{name}"


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert first_cycle({path: parse(path) for path in MODULES}) == []


def test_the_search_for_circles_sees_imports_in_functions_and_for_type_checkers() -> None:
    one, two, three = (SOURCE / "study" / f"{name}.py" for name in ("one", "two", "three"))
    inner = ast.parse("def f():\n    from syntype.study.two import x\n")
    checked = ast.parse("if TYPE_CHECKING:\n    from syntype.study.three import x\n")
    assert first_cycle({one: inner, two: checked, three: ast.parse("")}) == []
    assert sorted(set(first_cycle({one: inner, two: checked, three: ast.parse("from . import one")}))) == [
        "syntype.study.one",
        "syntype.study.three",
        "syntype.study.two",
    ]


@pytest.mark.parametrize("path", [path for path in MODULES if station(path) == "apps"], ids=name_of)
def test_apps_hold_no_numerical_logic(path: Path) -> None:
    numerical = {"torch", "numpy", "pandas", "scipy", "sklearn", "timm", "torchvision", "accelerate", "matplotlib"}
    assert [name for _, name in imported(parse(path), path) if name.split(".")[0] in numerical] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_has_a_docstring_and_says_what_is_public(path: Path) -> None:
    tree = parse(path)
    assert (ast.get_docstring(tree) or "").strip(), "no docstring"
    targets = [node.targets for node in tree.body if isinstance(node, ast.Assign)] + [
        [node.target] for node in tree.body if isinstance(node, ast.AnnAssign)
    ]
    assert "__all__" in [target.id for group in targets for target in group if isinstance(target, ast.Name)], "no __all__"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_longer_than_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("statement", ["import syntype", "import syntype.apps.cli", "import syntype.recipe, syntype.run, syntype.errors"])
def test_light_imports_stay_light(statement: str) -> None:
    heavy = "{'torch', 'pandas', 'numpy', 'matplotlib', 'timm', 'sklearn', 'scipy', 'PIL', 'pyarrow'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_importing_has_no_side_effects_on_the_working_folder_or_the_streams(tmp_path: Path) -> None:
    names = [module_name(path) for path in MODULES if path.stem != "__main__"]
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    result = subprocess.run([sys.executable, "-W", "error::UserWarning:syntype", "-c", code, *names], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
