"""How harnesses end, and how they measure: with a result line if they crash, and by the least of several times."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from harness import growth
from harness.common import times_as_long
from harness_runs import finished, run

CRASHING = """
import os
from tests.harness.common import arguments
arguments("")
if os.fork() == 0:
    raise ValueError("in a child")
os.wait()
raise ValueError("no such luck")
"""


def test_a_crash_is_the_result() -> None:
    """A harness that ends with an exception prints its traceback and one result line; a forked process prints none."""
    code, result, output = finished([sys.executable, "-c", CRASHING])
    assert (code, result["ok"], result["crashed"]) == (1, False, "ValueError: no such luck")
    assert (output.count('"crashed"'), output.count("Traceback")) == (1, 2), output


def test_a_crash_is_no_verdict() -> None:
    """A test does not take a harness that crashed for one that has found something."""
    with pytest.raises(pytest.fail.Exception, match=r"(?s)crashed:\nseed 7\n.*KeyError: 'no such engine'"):
        run("growth", "--sabotage", "no such engine")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("true", r"exit code 0, and no result line"),
        ("echo seed 7; kill -9 $$", r"exit code -9, and no result line:\nseed 7"),
        ("echo seed 7; exec sleep 100", r"timed out after 3 seconds\nseed 7"),
    ],
    ids=["silent", "killed", "hanging"],
)
def test_a_process_without_a_result_shows_what_it_printed(program: str, said: str) -> None:
    """A process that printed no result line is reported with its exit code or the limit, and its output."""
    with pytest.raises(pytest.fail.Exception, match=said):
        finished(["sh", "-c", program], limit_s=3)


@pytest.mark.parametrize(
    ("short", "long", "expected"),
    [
        ((1, 1), (2,), 2),
        ((3, 1), (2,), 2),  # noise in the first of two does not count
        ((1, 1, 1, 1), (9, 2), 2),  # nor in the first time of the longer
        ((1,) * 6, (4, 5, 4), 4),
        ((3, 3, 1, 3, 3, 3), (9, 4, 4), 4),
        ((0, 0), (0.02,), 2),  # below a tick of the clock
        ((1, 1), (inf,), inf),
        ((inf, inf), (inf,), inf),
    ],
)
def test_the_least_times_are_compared(short: tuple[float, ...], long: tuple[float, ...], expected: float) -> None:
    """A ratio is accepted after two measurements of the shorter time, and refused after three of the longer."""
    shorts, longs = iter(short), iter(long)
    assert expected == times_as_long(lambda: next(shorts), lambda: next(longs), 2.5)
    assert ([*shorts], [*longs]) == ([], [])


def swallowing() -> None:
    """Takes no notice of the first interruption, and ends with the second."""
    try:
        while True:
            pass
    except BaseException:
        while True:
            pass


def failing() -> None:
    raise RecursionError("too deep")


def measured(work: Callable[[], object]) -> float:
    return growth.growth(growth.Case("a case", lambda _: work), b"x", 8)


def test_a_measurement_that_swallows_an_interruption_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a measurement holds for code that catches every exception once."""
    monkeypatch.setattr(growth, "_LIMIT_S", 0.05)
    monkeypatch.setattr(growth, "_AGAIN_S", 0.05)
    assert measured(swallowing) == inf


def test_an_error_that_no_import_expects_is_reported() -> None:
    """A case that raises is named with its error, and the harness goes on."""
    with pytest.raises(growth.Raises, match=r"^RecursionError: too deep$"):
        measured(failing)


def test_growth_reports_what_raises(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The result line counts the cases that raise as broken."""
    monkeypatch.setattr(sys, "argv", ["growth.py", "--seed", "7", "--every", "1"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # set back afterwards
    monkeypatch.setattr(growth, "_cases", lambda _: [growth.Case("a case", lambda _: failing)])
    with pytest.raises(SystemExit, match="1"):
        growth.main()
    assert "BROKEN: a case: '\"' raises RecursionError: too deep\n" in capsys.readouterr().out


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    """The temporary files of a harness are made in the folder of its test."""
    program = "import tempfile; print('seed 7'); print('{\"made\": \"' + tempfile.mkdtemp() + '\"}')"
    assert Path(finished([sys.executable, "-c", program], tmp_path).result["made"]).parent == tmp_path
