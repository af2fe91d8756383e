"""Harnesses that try to break the engine's promises: `python -m tests.harness.kill --cycles 10000 --seed 7`.

Each prints its seed first and one line of JSON last, keeps what failed, and exits with 1 when a promise was broken.
The modules import nothing heavy and do nothing when imported.
"""
