"""The layers: imports only go down, the core does no I/O, and importing the package is cheap."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import convtree

HOME = Path(convtree.__file__).parent
#: from the top down; a module may import from rows below its own, and from its own folder
LAYERS = [
    {"__main__"},
    {"_cli", "adapters"},
    {"aio", "exchange", "repair", "shapes", "testing"},
    {"_tools"},
    {"stores"},
    {"_session"},
    {"_formats", "_logs"},
    {"_engine"},
    {"_catalogue", "_providers"},
    {"_model"},
    {"_messages"},
]
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
PURE = ["_messages", "_model", "_providers", "_catalogue", "_engine"]
PURE += [f"_session/{name}.py" for name in ("compaction", "cut_points", "forking", "header", "landing", "client")]
PURE += ["_session/view.py"]
IMPURE = {"os", "io", "pathlib", "time", "random", "logging", "socket", "subprocess", "shutil", "tempfile", "datetime"}
FILES = sorted(HOME.rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    """Returns the syntax tree of a file. Tries twice, because CPython 3.11 can fail once with a SystemError."""
    text = path.read_text(encoding="utf-8")
    try:
        return ast.parse(text)
    except SystemError:
        return ast.parse(text)


def imports_of(path: Path) -> set[str]:
    """Returns the full names of all modules that a file imports, at any level."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            module = node.module or ""
            found.update(f"{module}.{alias.name}" if module == "convtree" else module for alias in node.names)
    return found


def layer_of(path: Path) -> str:
    return path.relative_to(HOME).with_suffix("").parts[0]


def test_every_module_has_a_layer() -> None:
    """A new module must be added to the table of layers."""
    assert {layer_of(path) for path in FILES} - {"__init__"} <= RANKS.keys()


PUBLIC_MODULES = {"", "adapters", "aio", "exchange"}


@pytest.mark.parametrize("path", [path for path in FILES if layer_of(path) == "adapters"], ids=lambda path: path.name)
def test_adapters_use_the_public_api(path: Path) -> None:
    """Only public names of convtree, and no private attribute but of `self` and of the adapter's own class."""
    for name in imports_of(path):
        top, _, rest = name.partition(".")
        if top == "convtree":
            module = rest.split(".")[0]
            assert module in PUBLIC_MODULES or module in convtree.__all__, f"{path.name} imports {name}"
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            assert owner in ("self", "super()"), f"{path.name}:{node.lineno} uses {owner}.{node.attr}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_imports_only_go_down(path: Path) -> None:
    """No module imports from its own row or one above, except from its own package."""
    own = layer_of(path)
    for name in imports_of(path):
        top, _, rest = name.partition(".")
        if top != "convtree" or own == "__init__":
            continue
        other = rest.split(".")[0]
        if own == "adapters" and (other in convtree.__all__ or not other):  # they are users of the package
            continue
        if other == "__version__":  # the one name that only the package has
            continue
        assert other in RANKS, f"{own} imports the public names of convtree: {name}"
        assert other == own or RANKS[other] > RANKS[own], f"{own} imports {other}"


@pytest.mark.parametrize("name", PURE)
def test_the_core_does_no_io(name: str) -> None:
    """Pure modules use no files, clock, random numbers or logging."""
    allowed = {
        "_catalogue/record_summary.py": {"datetime"},  # it words times, and never asks for one
        "_engine/journal.py": {"os"},  # the salt of the id table is random
        "_model/sources.py": {"os", "time", "datetime"},  # where times and ids come from
        "_model/resources.py": {"os"},  # what happens at a fork
    }
    for path in [HOME / name] if name.endswith(".py") else sorted((HOME / name).glob("*.py")):
        used = {each.split(".")[0] for each in imports_of(path)} & IMPURE
        assert used == allowed.get(str(path.relative_to(HOME)), set()), path


@pytest.mark.parametrize(
    "more", ["", "convtree.Session.open(sys.argv[1]).append({'role': 'user', 'content': 'Hello'})"]
)
def test_importing_convtree_is_cheap(tmp_path: Path, more: str) -> None:
    """Heavy modules are imported when they are first needed; an append of a text needs none."""
    program = f"import sys, json, convtree\n{more}\nprint(json.dumps(sorted(sys.modules)))"
    bare = [
        sys.executable,
        "-S",
        "-c",
        f"import sys; sys.path[:] = {sys.path}\n{program}",
    ]  # no tool adds to the modules
    done = subprocess.run([*bare, str(tmp_path / "log.jsonl")], capture_output=True, text=True, check=True)
    heavy = {"sqlite3", "sqlalchemy", "asyncio", "anytree", "click", "rich", "filelock", "pathlib", "psycopg"}
    heavy |= {
        f"convtree.{name}"
        for name in (
            *("_catalogue", "_providers", "_messages.frameworks", "_engine.tokens", "_engine.diff", "_engine.redact"),
            *("_session.compaction", "_session.cut_points", "stores"),
            *(f"_session.{name}" for name in ("branches", "follow", "forking", "landing", "marking", "resolving")),
            *("_session.viewing", "_session.walking", "_engine.context", "_engine.outline", "_engine.snapshot"),
            *("_messages.matching", "_messages.reading", "_logs.atomic_file", "_logs.memory"),
        )
    }
    assert set(json.loads(done.stdout)) & heavy == set()


def test_formats_are_imported_lazily() -> None:
    """The command line imports no reader until it finds a foreign file.

    A reader imports no database and no other format.
    """
    program = "import sys, json, convtree._cli.app; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = {name for name in json.loads(done.stdout) if name.startswith("convtree._formats.")}
    assert (
        found
        & {f"convtree._formats.{name}" for name in ("registry", "pi.reader", "common.sqlite", "common.json_arrays")}
        == set()
    )
    program = "import sys, json, convtree._formats.codex; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & {"sqlite3", "convtree._formats.sqlite", "convtree._formats.pi"} == set()


def test_every_format_has_one_name() -> None:
    """Names are unique, and the names of writers are known before a writer is imported."""
    from convtree._formats import WRITERS
    from convtree._formats.registry import FORMATS

    names = [form.NAME for form in FORMATS]
    assert len(names) == len(set(names))
    assert [import_module(module).NAME for module in WRITERS.values()] == list(WRITERS)


def test_public_names_are_sorted_and_exist() -> None:
    """Every name in `__all__` is an attribute of the package."""
    assert convtree.__all__ == sorted(convtree.__all__)
    assert all(hasattr(convtree, name) for name in convtree.__all__)
