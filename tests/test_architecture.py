"""The design's rules, read off the source: who may import whom, how long things are, what nothing may name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datasets_for_tests import REPOSITORY, python

PACKAGE = REPOSITORY / "synthgen"
FILES = sorted(PACKAGE.rglob("*.py"))
FAMILIES = sorted(path.parent.name for path in PACKAGE.glob("*/base.py"))
SHARED = {"types", "component", "images", "weights", "palettes", "regions", "batches", "pretrained", "segmenter"}
SHARED |= {"pinned", "label_maps", "redaction", "remote", "lite0", "lite0.network"}
"""What a family may import besides its own base and helpers."""
JUDGES = {"checks": {"recognizers.base", "embedders.base"}}
"""A check judges by a network of another family: it knows what such a network does, never a kind."""
BASES = {f"{family}.base" for family in FAMILIES}
ARROWS: dict[str, set[str]] = {
    "types": set(),
    "seeds": set(),
    "redaction": set(),
    "shipped": set(),
    "component": {"types"},
    "images": {"types"},
    "regions": {"types"},
    "people": {"types", "regions"},
    "weights": {"types", "redaction"},
    "palettes": {"types"},
    "names": {"types"},
    "pinned": {"types"},
    "lite0": {"types"},
    "learned": {"types", "shards", "checks.base", "datasets.base"},
    "remote": {"types", "redaction"},
    "ranks": {"types"},
    "progress": {"types"},
    "shards": {"types", "redaction"},
    "quotas": set(),
    "hardness": {"types", "targets"},
    "describe": {"types"},
    "measurements": {"types"},
    "factors": {"types", "component", "shipped", "randomizers.base"},
    "targets": {"types", "factors", "quotas", "seeds"},
    "plan": {"types", "factors", "hardness", "quotas", "seeds", "targets", "randomizers.base"},
    "refill": {"types", "plan", "quotas", "seeds"},
    "stages": {"component", "protectors.base"},
    "config": {"types", "component", "plan", "redaction", "stages", *BASES},
    "status": {"finishing", "place", "progress", "remote", "rundir"},
    "prepare": {"types", "config", "people", "regions", "seeds", "stages", *BASES},
    "pipeline": {
        *("types", "config", "describe", "images", "measurements", "people", "plan", "prepare", "seeds", "shards"),
        *BASES,
    },
    "rundir": {"types", "config", "names", "shards", "datasets.base"},
    "refusals": {"types", "config", "plan"},
    "resolving": {"types", "config", "hardness", "plan", "refusals", "weights", *BASES},
    "place": {"progress", "rundir", "remote", "remote_place", "shards"},
    "remote_place": {"types", "place", "remote", "rundir", "shards"},
    "working": {
        *("types", "learned", "pipeline", "place", "prepare", "progress", "ranks", "resolving", "rundir", "shards"),
    },
    "finishing": {"types", "config", "refill", "resolving", "rundir", "shards", "report.documents"},
    "launchers.ranks": {"types", "place", "ranks", "resolving", "shards", "working"},
    "launchers.cluster": {"types", "config", "place", "ranks", "resolving", "rundir", "shards", "working"},
    "launch": {
        *("types", "finishing", "place", "progress", "ranks", "resolving", "rundir", "shards", "working"),
        *("launchers.ranks", "launchers.cluster", "report.documents"),
    },
}
HEAVY = ("torch", "diffusers", "transformers", "onnxruntime", "controlnet_aux", "accelerate", "peft", "ray", "fsspec")
MAX_LINES, MAX_FUNCTION = 400, 70


def module_name(path: Path) -> str:
    """`datasets.base` for synthgen/datasets/base.py, `palettes` for its __init__."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Every name that a file imports, anywhere in it, in full: `synthgen.types.Image`, `numpy`."""
    package = ("synthgen", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            yield from (f"{above}{node.module or ''}".rstrip(".") + f".{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    found = set()
    for name in imports(path):
        if name == "synthgen" or name.startswith("synthgen."):
            parts = name.split(".")[1:]
            while parts and not is_module(parts):
                parts = parts[:-1]
            found.add(".".join(parts))
    return found - {""}


def is_module(parts: list[str]) -> bool:
    path = PACKAGE.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_there_is_something_to_look_at() -> None:
    families = {"checks", "datasets", "detectors", "extractors", "generators", "protectors", "randomizers"}
    assert families <= set(FAMILIES)
    assert own_imports(PACKAGE / "pipeline.py") >= {"prepare", "shards", "generators.base"}
    assert own_imports(PACKAGE / "detectors/centerface.py") >= {"detectors.base", "types"}
    assert set(ARROWS) <= {module_name(path) for path in FILES}


@pytest.mark.parametrize("name", ARROWS)
def test_core_follows_the_arrows(name: str) -> None:
    path = PACKAGE / f"{name.replace('.', '/')}.py"
    path = path if path.is_file() else PACKAGE / name / "__init__.py"
    assert own_imports(path) - ARROWS[name] == set()


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name in FAMILIES], ids=module_name)
def test_a_family_knows_its_base_its_helpers_and_no_other_family(path: Path) -> None:
    family = path.parent.name
    helpers = {f"{family}.{other.stem}" for other in path.parent.glob("_*.py")} | {family}
    assert own_imports(path) - SHARED - JUDGES.get(family, set()) - helpers - {f"{family}.base"} == set()


OTHERS = [path for path in FILES if path.parent.name not in (*FAMILIES, "training")]
"""Training builds the weights of certain kinds, so it names them."""


@pytest.mark.parametrize("path", OTHERS, ids=module_name)
def test_nobody_but_its_family_names_a_kind(path: Path) -> None:
    """What is outside the families reaches a kind by its config alone."""
    kinds = {name for name in own_imports(path) if name.split(".")[0] in FAMILIES} - BASES
    assert kinds == set()


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_told_and_short(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module opens with what it is and why it is so"
    assert len(path.read_text().splitlines()) <= MAX_LINES
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION]
    assert long == []


KIND_FILES = [path for path in FILES if path.parent.name in FAMILIES and not path.name.startswith("_")]


@pytest.mark.parametrize("path", KIND_FILES, ids=module_name)
def test_heavy_libraries_are_imported_where_they_are_loaded(path: Path) -> None:
    heavy = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            heavy += [alias.name for alias in node.names if alias.name.split(".")[0] in HEAVY]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in HEAVY:
            heavy.append(node.module or "")
    assert heavy == []


def test_naming_every_kind_imports_nothing_heavy() -> None:
    """The helpers too: what a kind's module pulls in when a config names it."""
    code = (
        "import sys\n"
        "from synthgen.component import component_class, kinds\n"
        f"for family in {FAMILIES}:\n"
        "    for kind in kinds(family):\n"
        "        component_class(family, kind)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr


SHOWN = ("synthgen", "tests", "configs", "prompts", "scripts", ".ci")
TEXT = {".py", ".yaml", ".yml", ".md", ".sh", ".toml", ".txt", ".json", ".csv", ""}


def texts() -> list[Path]:
    inside = [path for folder in SHOWN for path in (REPOSITORY / folder).rglob("*")]
    top = list(REPOSITORY.glob("*.*"))
    return [
        path for path in (*inside, *top) if path.is_file() and path.suffix in TEXT and "__pycache__" not in path.parts
    ]


def test_nothing_names_a_machine() -> None:
    """Paths of somebody's home or workplace; built from parts, or this file would name them."""
    pattern = re.compile("|".join(f"(?<![\\w.])/{name}/" for name in ("home", "root", "Users", "work", "tmp", "mnt")))
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:80]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert len(texts()) > 100 and found == []
