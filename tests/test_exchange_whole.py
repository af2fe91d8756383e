"""Every format from one end to the other: recognised by its content, into a store, and out to every provider."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from foreign import SAMPLES, encoded
from foreign_agents import AGENTS
from foreign_chats import CHATS
from request_checker import check_types, faults
from test_formats_stores_laws import sources

from convtree._cli.app import app
from convtree._formats.common.base import Source
from convtree._formats.message_list import reader as message_list
from convtree._formats.registry import FORMATS
from convtree._providers import Shape
from convtree.exchange import import_into, list_foreign, read_foreign
from convtree.stores._open import open_store

SHAPES: tuple[Shape, ...] = ("openai-chat", "openai-responses", "anthropic", "gemini")
NAMES = {form.NAME for form in FORMATS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the samples are."""
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def paths(folder: Path) -> list[Path]:
    """A sample of every format."""
    for name, lines in SAMPLES.items():
        (folder / f"{name}.jsonl").write_bytes(encoded(*lines))
    sources(folder)
    flat = sorted(folder.iterdir())
    more = AGENTS | CHATS
    for name in more:
        (folder / "more" / name).mkdir(parents=True)
    return flat + [sample.write(folder / "more" / name) for name, sample in more.items()]


def forms_of(path: Path) -> list[str]:
    beginning = b"" if path.is_dir() else path.read_bytes()[: 2**20]
    return [form.NAME for form in FORMATS if form.recognises(Source(path, beginning))]


def test_every_sample_is_of_one_format(paths: list[Path]) -> None:
    """Nobody takes another's file. The last format takes any file of messages, so it is asked after the others."""
    found = [forms_of(path) for path in paths]
    found = [[name for name in names if name != message_list.NAME] or names for names in found]
    assert all(len(names) <= 1 for names in found), found
    assert {names[0] for names in found if names} == NAMES


@pytest.mark.usefixtures("paths")
def test_a_folder_of_everything_comes_in_once(folder: Path, tmp_path: Path) -> None:
    """The second time adds nothing; what has the id of another tool's session is reported, and comes in elsewhere."""
    with open_store(tmp_path / "store", durability="process") as store:
        first = import_into(folder, store)
        second = import_into(folder, store)
        listed = store.list(limit=None, tasks=True, archived=None)
        assert store.findings == []
    assert sum(report.written for report in second) == 0
    assert {info.id for info in listed} == {report.session_id for report in first if report.written}
    formats = {report.format for report in first if report.written}
    for number, report in enumerate(report for report in first if report.status == "failed"):
        assert f"another session has the id {report.session_id}" in (report.reason or "")
        with open_store(tmp_path / f"store-{number}", durability="process") as store:
            formats |= {each.format for each in import_into(report.source or "", store) if each.written}
    assert formats == NAMES


@pytest.mark.no_cover
@pytest.mark.parametrize("shape", SHAPES)
def test_every_import_goes_out_to_every_provider(shape: Shape, paths: list[Path]) -> None:
    """Calls and results paired, of the SDK's own types, without a key that only the tool knew."""
    for path in paths:
        with open_store("memory:") as store:
            for report in import_into(path, store) if forms_of(path) else ():
                with store.open(report.session_id or "", read_only=True) as session:
                    for leaf in session.leaves():
                        request = session.build_context(leaf=leaf.id).to(shape)
                        check_types(shape, request)
                        assert faults(shape, request) == [], (path.name, leaf.id)
                        assert not NAMES & keys_of(request), (path.name, leaf.id)


def keys_of(value: object) -> set[str]:
    """The keys of all objects in a value."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            found |= each.keys()
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return {name.replace("_", "-") for name in found} | found


def test_inspect_shows_every_sample(paths: list[Path]) -> None:
    """A source with several sessions says which there are."""
    for path in paths:
        if forms_of(path):
            done = CliRunner().invoke(app, ["inspect", str(path)])
            assert done.exit_code in (0, 1) or "--session" in done.output, (path.name, done.output)


def test_read_foreign_is_what_import_brings(paths: list[Path], tmp_path: Path) -> None:
    """The same entries, to look at or to keep."""
    with open_store(tmp_path / "store", durability="process") as store:
        for path in paths:
            names = forms_of(path)
            reports = [report for report in import_into(path, store) if report.written] if names else []
            if len(reports) == 1:
                session, _ = read_foreign(path)
                with store.open(reports[0].session_id or "", read_only=True) as stored:
                    assert [each.id for each in stored.path()] == [each.id for each in session.path()]


@pytest.mark.no_cover
def test_a_session_that_was_continued_here_keeps_its_leaf(paths: list[Path], tmp_path: Path) -> None:
    """Whatever the format, and however much of the source was imported before somebody went on."""
    tried = set()
    for path in paths:
        for number, ref in enumerate(list_foreign(path) if forms_of(path) else ()):
            session, report = read_foreign(path, session_id=ref.id)
            records = [record for _, record in session.records()]
            for size in {1, len(records) - 1} - {0, len(records)}:
                with open_store(tmp_path / f"{path.name}-{number}-{size}", durability="process") as store:
                    with store.open_or_create(session.header) as begun:
                        begun.extend(records[:size])
                        mine = begun.append({"role": "user", "content": "I go on here"})
                    (found,) = (each for each in import_into(path, store) if each.session_id == session.id)
                    assert (found.written + found.already_there, found.leaf_kept) == (len(records), True), path.name
                    assert store.open(session.id, read_only=True).leaf_id == mine.id, path.name
                    tried.add(report.format)
    assert tried == NAMES
