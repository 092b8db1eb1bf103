"""The house's order: imports point down only, and asking for help loads nothing heavy."""

from __future__ import annotations

import ast
import graphlib
import importlib
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dpdeblur"
BENCHMARKS = Path(__file__).parent / "benchmarks"

#: Modules and packages from the bottom up. Each may import what stands in a line below its own, and itself.
LAYERS = (
    ("__init__", "errors"),
    ("containers", "colour"),
    ("metadata",),
    ("photo",),
    ("framing", "networks", "arrays"),
    ("weights",),
    ("checkpoints",),
    ("restoration",),
    ("readers", "writers"),
    ("batch",),
    ("pipeline", "views", "training"),
    ("comparison", "description", "evaluation"),
    ("api", "cluster"),
    ("commands",),
    ("cli",),
)
HEAVY = {"torch", "cv2", "rawpy", "numpy"}


def find_top(path: Path, package: Path) -> str:
    """The module or package directly below the root that a file belongs to."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def find_imports(path: Path, package: Path) -> Iterator[str]:
    """The parts of the package that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [
                f"{node.module}.{alias.name}" if node.module == "dpdeblur" else str(node.module) for alias in node.names
            ]
        for name in names:
            root, _, rest = name.partition(".")
            if root == "dpdeblur":
                top = rest.split(".")[0]
                is_part = (package / top).is_dir() or (package / f"{top}.py").is_file()
                yield top if top and is_part else "__init__"


def find_upward_imports(package: Path) -> list[str]:
    """Every import that does not point down, as `module -> module`."""
    height = {name: index for index, names in enumerate(LAYERS) for name in names}
    wrong: set[str] = set()
    for path in package.rglob("*.py"):
        top = find_top(path, package)
        if top == "__init__":  # the version for all below, and, loaded when they are used, the names of `api` above
            continue
        for imported in find_imports(path, package):
            if imported != top and height[imported] >= height[top]:
                wrong.add(f"{path.relative_to(package)} -> {imported}")
    return sorted(wrong)


def test_imports_point_down_only() -> None:
    assert find_upward_imports(PACKAGE) == []


def map_imports(package: Path) -> dict[str, set[str]]:
    """What each module imports of the package: {"dpdeblur.batch.plan": {"dpdeblur.readers", ...}}."""
    names = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in package.rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported: list[str] = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [f"{node.module}.{alias.name}" for alias in node.names]
            for target in imported:
                while target and target not in names:
                    target = target.rpartition(".")[0]
                # the package itself holds the version, and loads names of `api` when they are used
                if target not in ("", package.name, name):
                    graph[name].add(target)
    del graph[package.name]
    return graph


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = map_imports(PACKAGE)
    assert "dpdeblur.restoration.tiling" in graph["dpdeblur.restoration.inference"]
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_detour_is_found(tmp_path: Path) -> None:
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, other in (("cellar", "attic"), ("hall", "cellar"), ("attic", "hall")):
        (package / f"{name}.py").write_text(f"def climb():\n    from house.{other} import door")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(map_imports(package)).prepare()


def test_every_module_has_its_place_in_the_order() -> None:
    tops = {find_top(path, PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert tops == {name for names in LAYERS for name in names}


@pytest.mark.parametrize(
    "line",
    [
        "from dpdeblur.batch.overlap import run_batch",
        "import dpdeblur.batch.overlap",
        "from dpdeblur import batch",
        "def f():\n    from dpdeblur.batch.overlap import run_batch",
    ],
)
def test_an_upward_import_is_found_wherever_it_hides(tmp_path: Path, line: str) -> None:
    (tmp_path / "readers").mkdir()
    (tmp_path / "readers" / "pixel.py").write_text(line)
    (tmp_path / "batch.py").write_text("from dpdeblur import __version__\nfrom dpdeblur.readers.pixel import x")
    assert find_upward_imports(tmp_path) == ["readers/pixel.py -> batch"]


def test_every_package_travels_in_the_wheel() -> None:
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    there = {".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("*.py")}
    assert set(settings["tool"]["setuptools"]["packages"]) == there | {"dpdeblur.weights_files"}


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_of_the_package_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == PACKAGE.name:
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")


def test_the_package_itself_loads_nothing_but_itself() -> None:
    program = "import sys; before = set(sys.modules); import dpdeblur; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert "dpdeblur" in loaded
    assert not {name.split(".")[0] for name in loaded} & (HEAVY | {"typer", "tqdm"})
    assert not [name for name in loaded if name.startswith("dpdeblur.")]


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['dpdeblur', 'run', '--help']\n"
        "from dpdeblur.cli import main\n"
        "try: main()\n"
        "finally: print('LOADED', *sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--strength" in result.stdout
    loaded = set(result.stderr.split())
    assert "typer" in loaded
    assert not loaded & HEAVY
