"""The wall between plugin and engine, the layers, and what QGIS and its plugin site ask of code.

Reads the source only, so that it runs in either interpreter.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "plugin" / "engine"
SHARED = tuple(
    f"plugin.engine.{name}"
    for name in (
        "jobs",
        "weight_jobs",
        "compare_job",
        "job_reading",
        "method_list",
        "protocol",
        "errors",
        "home",
    )
)
LARGEST_MODULE = 420  # lines; about 400 is where a module has more than one subject

# Downwards only: a module may import from its own layer and from the layers behind it.
ENGINE_LAYERS = (
    ("launch",),
    ("cli", "worker"),
    ("backbones_cli", "train_cli", "compare_cli"),
    ("run",),
    (
        *("train", "predict", "evaluate", "planning", "inspection", "describe", "compare"),
        *("judging", "trained_card", "label_samples"),
    ),
    ("weights",),
    (
        *("prepare", "calibration", "mapping", "map_file", "normalise", "card_units"),
        *("landscape", "continuing"),
        *("report", "compare_report", "compare_table", "page"),
    ),
    ("training", "adapter_file", "card", "model"),
    ("backbones", "data"),
    (
        *("devices", "memory", "footprint", "events", "protocol", "errors", "home", "version"),
        *("jobs", "weight_jobs", "compare_job", "job_reading", "child", "precise"),
        "wording",
    ),
    ("backbone_wording", "attention"),
    ("method_list",),
)
PLUGIN_LAYERS = (
    ("tilth_plugin",),
    ("dock", "processing"),
    ("layers", "tasks"),
    ("worker",),
    ("environment",),
    ("engine",),
)
TOO_HEAVY = {
    "torch", "torchvision", "timm", "peft", "safetensors", "transformers", "rasterio", "pyogrio",
    "shapely", "sklearn", "scipy", "numpy", "fiona", "geopandas", "pandas", "tilth_engine",
}  # fmt: skip
QT = {"PyQt5", "PyQt6", "PySide2", "PySide6", "sip", "qgis"}


class Import(NamedTuple):
    """One import: the module's dotted name from the root, and how many dots it was written with."""

    module: str
    dots: int
    line: int


def name_of(path: Path) -> str:
    """plugin/dock/__init__.py -> plugin.dock"""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES: Dict[str, Path] = {
    name_of(path): path
    for path in sorted((ROOT / "plugin").rglob("*.py"))
    if "__pycache__" not in path.parts
}
ENGINE_SIDE = {n: p for n, p in SOURCES.items() if ENGINE in p.parents}
PLUGIN_SIDE = {
    **{n: p for n, p in SOURCES.items() if n not in ENGINE_SIDE},
    **{n: p for n, p in SOURCES.items() if n in SHARED},
    "tilth": ROOT / "__init__.py",
}
TREES = {
    name: ast.parse(path.read_text(encoding="utf-8"), str(path))
    for name, path in {**SOURCES, **PLUGIN_SIDE}.items()
}


def imports(name: str, top_level_only: bool = False) -> Iterator[Import]:
    """What a module imports, with relative imports resolved against the root."""
    path = {**SOURCES, **PLUGIN_SIDE}[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    if name == "tilth":
        package = ""
    tree = TREES[name]
    nodes = _at_import(tree.body) if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, 0, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(inner if inner in SOURCES else base, node.level, node.lineno)


def _at_import(body: List[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that run when a module is imported: not functions, not TYPE_CHECKING."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from _at_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from _at_import(handler.body)


def layer(layers: Tuple[Tuple[str, ...], ...], name: str) -> int:
    """A module's place; the test fails where it has none, so that new ones are thought about."""
    for index, names in enumerate(layers):
        if name in names:
            return index
    raise AssertionError(f"{name} has no layer: add it to this test's list")


def test_the_plugin_side_imports_nothing_heavy():
    found = [
        f"{name}:{i.line} {i.module}"
        for name in PLUGIN_SIDE
        for i in imports(name)
        if not i.dots and i.module.split(".")[0] in TOO_HEAVY
    ]
    assert not found


def test_the_plugin_side_sees_only_the_shared_modules_of_the_engine():
    found = [
        f"{name}:{i.line} {i.module}"
        for name in PLUGIN_SIDE
        if name not in SHARED
        for i in imports(name)
        if i.module.startswith("plugin.engine") and i.module not in SHARED
    ]
    assert not found


def test_qt_only_through_qgis_pyqt():
    found = [
        f"{name}:{i.line} {i.module}"
        for name in PLUGIN_SIDE
        for i in imports(name)
        if not i.dots and i.module.split(".")[0] in QT - {"qgis"}
    ]
    assert not found


@pytest.mark.parametrize("name", [*SHARED, *(n for n in SOURCES if "plugin.environment" in n)])
def test_standard_library_only(name):
    """These run in QGIS, in the engine and outside both."""
    if not hasattr(sys, "stdlib_module_names"):
        pytest.skip("this Python does not know its own modules' names")
    known = sys.stdlib_module_names
    found = [i for i in imports(name) if not i.dots and i.module.split(".")[0] not in known]
    assert not found


def test_the_engine_knows_nothing_of_qgis():
    found = [
        f"{name}:{i.line} {i.module}"
        for name in ENGINE_SIDE
        for i in imports(name)
        if not i.dots and i.module.split(".")[0] in QT
    ]
    assert not found


def test_the_engine_imports_itself_relatively():
    found = [
        f"{name}:{i.line} {i.module}"
        for name in ENGINE_SIDE
        if name != "plugin.engine.launch"  # it makes the name tilth_engine, so it may use it
        for i in imports(name)
        if (not i.dots and i.module.split(".")[0] in {"tilth", "tilth_engine", "plugin", "engine"})
        or (i.dots and not i.module.startswith("plugin.engine"))
    ]
    assert not found


@pytest.mark.parametrize(
    "side, layers", [("plugin.engine", ENGINE_LAYERS), ("plugin", PLUGIN_LAYERS)]
)
def test_imports_run_downwards(side, layers):
    found = []
    start = side.count(".") + 1
    for name in ENGINE_SIDE if side == "plugin.engine" else SOURCES:
        if name.count(".") < start or (side == "plugin" and name in ENGINE_SIDE):
            continue
        own = name.split(".")[start]
        for i in imports(name):
            if not i.module.startswith(side + ".") or i.module.count(".") < start:
                continue
            other = i.module.split(".")[start]
            if layer(layers, other) < layer(layers, own):
                found.append(f"{name}:{i.line} {i.module}")
    assert not found


def test_no_module_is_part_of_a_circle():
    graph = {n: {i.module for i in imports(n, top_level_only=True)} & set(SOURCES) for n in SOURCES}
    done: Set[str] = set()

    def visit(name: str, way: List[str]) -> None:
        assert name not in way, " > ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name] - {name}):
                visit(other, [*way, name])
            done.add(name)

    for name in SOURCES:
        visit(name, [])


def test_no_package_is_part_of_a_circle():
    """Packages too, counting imports inside functions: plugin.dock needs plugin.worker or the
    other way round, never both."""
    graph: Dict[str, Set[str]] = {}
    for name, path in SOURCES.items():
        own = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for i in imports(name):
            if i.module in SOURCES:
                other = i.module
                if SOURCES[other].name != "__init__.py":
                    other = other.rpartition(".")[0]
                if other != own:
                    graph.setdefault(own, set()).add(other)
    both = [(a, b) for a, others in graph.items() for b in others if a in graph.get(b, set())]
    # A package and one inside it may lean on each other's modules.
    assert not [(a, b) for a, b in both if not a.startswith(b) and not b.startswith(a)]


def test_packages_do_nothing_when_imported():
    found = [
        str(path)
        for path in SOURCES.values()
        if path.name == "__init__.py" and path.read_text(encoding="utf-8").strip()
    ]
    assert not found


def test_every_folder_with_code_is_a_package():
    folders = {path.parent for path in SOURCES.values()}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]


def test_setuptools_knows_every_package_of_the_engine():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'"(tilth_engine[\w.]*)"', text.split("packages = [")[1].split("]")[0]))
    there = {
        name.replace("plugin.engine", "tilth_engine")
        for name, path in ENGINE_SIDE.items()
        if path.name == "__init__.py"
    }
    assert listed == there


@pytest.mark.parametrize("name", sorted(PLUGIN_SIDE))
def test_the_plugin_side_is_python_3_9(name):
    path = PLUGIN_SIDE[name]
    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))
    tree = TREES[name]
    lazy = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
    )
    for node in ast.walk(tree):
        assert not isinstance(node, getattr(ast, "Match", ())), f"match at {node.lineno}"
        if isinstance(node, (ast.AnnAssign, ast.arg, ast.FunctionDef)) and not lazy:
            text = ast.dump(node.annotation or node) if hasattr(node, "annotation") else ""
            assert "BitOr" not in text, f"X | Y without the __future__ import at {node.lineno}"


def _faults(tree: ast.AST) -> Iterator[str]:
    """What the plugin site's scan refuses, as far as it can be told from the syntax."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Assert):
            yield f"{line}: assert"
        elif isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            if broad and all(isinstance(s, (ast.Pass, ast.Continue)) for s in node.body):
                yield f"{line}: a swallowed exception"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.match(r"/(var/)?tmp\b|/dev/shm", node.value) and id(node) not in docstrings:
                yield f"{line}: {node.value}"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            for name in names:
                if name.split(".")[0] in {"pickle", "cPickle", "dill", "shelve", "marshal"}:
                    yield f"{line}: {name}"
        elif isinstance(node, ast.Call):
            yield from _call_faults(node)


def _call_faults(node: ast.Call) -> Iterator[str]:
    function = ast.unparse(node.func)
    keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
    if function == "torch.load" and keywords.get("weights_only") != "True":
        yield f"{node.lineno}: torch.load without weights_only=True"
    if function in ("eval", "exec", "os.system", "os.popen") or keywords.get("shell") == "True":
        yield f"{node.lineno}: {function}"
    if function.endswith(("hf_hub_download", "snapshot_download")) and "revision" not in keywords:
        yield f"{node.lineno}: {function} without a revision"


@pytest.mark.parametrize("name", sorted({**SOURCES, **PLUGIN_SIDE}))
def test_nothing_that_the_plugin_site_refuses(name):
    assert not list(_faults(TREES[name]))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_started_processes_and_downloads_are_justified(name):
    """Each call that the scan flags carries its reason, on the same statement or right above."""
    lines = SOURCES[name].read_text(encoding="utf-8").splitlines()
    wanted = re.compile(r"^(subprocess\.(run|Popen|call|check_\w+)|urllib\.request\.urlopen)$")
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call) and wanted.match(ast.unparse(node.func)):
            statement = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            assert re.search(r"# nosec B\d+", statement), f"{name}:{node.lineno}"
            above = lines[node.lineno - 2].strip().startswith("# ")
            assert above or re.search(r"# nosec B\d+ # \w+", statement), f"{name}:{node.lineno}"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_modules_stay_small(name):
    assert len(SOURCES[name].read_text(encoding="utf-8").splitlines()) <= LARGEST_MODULE


def test_no_print_beside_the_protocol():
    """Standard output belongs to the worker's protocol and to the command's own results."""
    found = [
        f"{name}:{node.lineno}"
        for name in {**ENGINE_SIDE, **PLUGIN_SIDE}
        if name not in ("plugin.engine.cli", "plugin.engine.launch")
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert not found
