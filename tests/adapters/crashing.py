"""A program that is killed while it writes: what the crash tests of the adapters share."""

import subprocess
import sys

KINDS = ["folder", "sqlite", "postgresql"]  # of stores that outlive a process


def killed_while_writing(program: str, *arguments: str) -> int:
    """Runs a program that prints 0, 1, 2, … after each write, and kills it in the middle; returns the last number."""
    writer = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(20)][-1]
    writer.kill()
    acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
    writer.wait()
    return acknowledged
