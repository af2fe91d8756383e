"""The harnesses of damage, faults and hostile input, in their quick sizes; the long ones are run by hand."""

from pathlib import Path

import pytest
from harness_runs import run

DAMAGE = ("damage", "--entries", "30", "--whole", "12", "--every", "1500")
INDEXED = ("damage", "--entries", "30", "--whole", "12", "--every", "2200", "--indexed")
FAULTS = ("faults", "--every", "31", "--pairs", "0")
FUZZ = ("fuzz", "--cases", "80")
CATALOGUE = ("catalogue", "--every", "400009", "--states", "1")
MASSES = ("masses", "--entries", "1000", "--only", "labels,roots,path")
SWAPPING = ("swapping", "--every", "90")
REDACTION = ("redaction", "--folder", "tests/harness")
GROWTH = ("growth", "--every", "24007", "--size", "32768")
OPERATIONS = "append,first append,refresh of a replaced log,open,list,delete,vacuum,a shared session"
INTERRUPTS = ("interrupts", "--points", "1", "--operations", OPERATIONS)
REPLACED = ("interrupts", "--places", "file", "--operations", "refresh of a replaced log", "--points", "80")
LOCKED = ("interrupts", "--places", "sqlite", "--operations", "append", "--points", "15")


@pytest.mark.parametrize(
    "harness",
    [DAMAGE, INDEXED, FAULTS, FUZZ, CATALOGUE, REDACTION, SWAPPING, MASSES, GROWTH, INTERRUPTS],
    ids=lambda harness: f"{harness[0]}{' indexed' if '--indexed' in harness else ''}",
)
def test_the_promise_holds(harness: tuple[str, ...], tmp_path: Path) -> None:
    """Every case is found or without effect, and the result line says so."""
    code, result, output = run(*harness, place=tmp_path)
    assert (code, result["ok"]) == (0, True), output
    assert output.startswith("seed 7\n")


@pytest.mark.parametrize(
    ("variant", "harness"),
    [
        ("seal_not_checked", ("damage", "--entries", "2", "--whole", "6", "--every", "5000")),
        ("no_tail_check", ("damage", "--entries", "2", "--whole", "6", "--every", "300")),
        ("sync_retried", ("faults", "--every", "39", "--pairs", "0")),
        ("errors_without_path", ("faults", "--every", "60", "--pairs", "0")),
        ("index_in_place", ("faults", "--every", "20", "--pairs", "0")),
        ("index_believed", ("damage", "--entries", "2", "--whole", "6", "--every", "300", "--indexed")),
        ("places_unconfirmed", ("damage", "--entries", "2", "--whole", "6", "--every", "60")),
        ("any_entry_restores", ("damage", "--entries", "2", "--whole", "6", "--every", "60")),
        ("links_stay", ("damage", "--entries", "2", "--whole", "12", "--every", "400")),
        ("escapes_ignored", REDACTION),
        ("catalogue_believed", ("catalogue", "--every", "4000037", "--states", "1")),
        ("foreign_rows_believed", ("catalogue", "--every", "4000037", "--states", "1")),
        ("leaves_compared", ("masses", "--entries", "1000", "--only", "roots")),
        ("links_followed", ("swapping", "--only", "heal", "--every", "2")),
        ("beginnings_searched_again", ("growth", "--only", "chatgpt: cut at 40", "--every", "8", "--size", "4096")),
        ("transaction_kept", LOCKED),
        ("prefix_believed", REPLACED),
        ("watermark_ignored", ("damage", "--entries", "2", "--whole", "6", "--every", "300", "--indexed")),
    ],
)
def test_a_broken_engine_is_caught(variant: str, harness: tuple[str, ...], tmp_path: Path) -> None:
    """Against an engine that is broken on purpose the harness fails, and says what it saw."""
    code, result, output = run(*harness, "--sabotage", variant, place=tmp_path)
    assert (code, result["ok"], result["broken"] > 0) == (1, False, True), output
