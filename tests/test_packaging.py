"""Packaging: metadata, the files in wheel and sdist, links and commands of the README."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BASE = "https://forge.example/convtree/blob/main/"
LINK = re.compile(r"\]\(([^)]+)\)")


def build(source: Path, target: Path) -> tuple[Path, Path]:
    """Builds both distributions; returns the wheel and the sdist."""
    pytest.importorskip("hatchling")  # it comes with the extra `test`
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return wheel, sdist


def metadata(wheel: Path) -> Message:
    """Returns the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def shipped() -> set[str]:
    """Returns the files, other than code, that every distribution must contain."""
    docs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "convtree" / "docs").rglob("*.md")}
    named = {"convtree/docs/FORMAT.md", "convtree/docs/format.schema.json", "convtree/LICENSE", "convtree/py.typed"}
    return docs | named


def test_metadata_names_licence_systems_and_versions(built: tuple[Path, Path]) -> None:
    """Licence fields of PEP 639, authors without an address, POSIX, and every supported Python version."""
    found = metadata(built[0])
    assert (found["License-Expression"], found.get_all("License-File")) == ("MIT", ["convtree/LICENSE"])
    assert (found["Author"], found["Author-email"]) == ("the convtree authors", None)
    classifiers = set(found.get_all("Classifier", []))
    assert "Operating System :: POSIX" in classifiers
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)} <= classifiers
    assert found["Requires-Python"] == ">=3.11"


def test_required_dependencies(built: tuple[Path, Path]) -> None:
    """An install without extras adds four packages."""
    required = [each for each in metadata(built[0]).get_all("Requires-Dist", []) if "extra ==" not in each]
    assert sorted(re.split(r"[^\w-]", each)[0] for each in required) == ["anytree", "filelock", "msgspec", "orjson"]


def test_the_wheel_has_the_package_and_its_documents(built: tuple[Path, Path]) -> None:
    """It contains documents and licence, but no tests, examples or benchmarks."""
    with zipfile.ZipFile(built[0]) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"convtree"}
    assert shipped() <= names
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "convtree").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == code


def test_the_sdist_has_everything_to_run_the_tests(built: tuple[Path, Path]) -> None:
    """It contains documents and licence, and the files that both commands of the README need."""
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert shipped() <= names
    assert {"README.md", "pyproject.toml", "examples/quickstart.py", "tests/conftest.py", ".ci/run"} <= names


def test_readme_links_without_a_base_url(built: tuple[Path, Path]) -> None:
    """Without a base URL, the README is not changed."""
    assert metadata(built[0]).get_payload() == README


def test_readme_links_with_a_base_url(tmp_path: Path) -> None:
    """A base URL is put before every relative link. Absolute links, anchors and code stay as they are."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copytree(ROOT / "convtree", source / "convtree", ignore=shutil.ignore_patterns("__pycache__"))
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert settings.count("replacement = ''") == 1
    (source / "pyproject.toml").write_text(settings.replace("replacement = ''", f"replacement = '{BASE}'"))
    more = (
        "\n[out](https://a.example/x) [mail](mailto:a@b.example) [here](#limits) [there](convtree/docs/FORMAT.md#v)\n"
    )
    (source / "README.md").write_text(README + more, encoding="utf-8")
    wheel, _ = build(source, tmp_path / "dist")
    text = metadata(wheel).get_payload()
    assert isinstance(text, str)
    relative = [link for link in LINK.findall(README + more) if not re.match(r"[a-z]+:|#", link)]
    assert [link.removeprefix(BASE) for link in LINK.findall(text) if link.startswith(BASE)] == relative
    assert text.replace(BASE, "") == README + more
    assert text.endswith(
        f"(https://a.example/x) [mail](mailto:a@b.example) [here](#limits) [there]({BASE}{relative[-1]})\n"
    )
    code = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
    assert code.findall(text) == code.findall(README)


def test_the_gate_runs_the_commands_of_the_readme() -> None:
    """`.ci/run` contains both commands word for word."""
    commands = re.findall(r"^```bash\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert len(commands) == 2
    assert [command for command in commands if command not in lines] == []
