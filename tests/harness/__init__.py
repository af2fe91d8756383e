"""Programs that try to break the engine's promises, such as `python -m tests.harness.kill --cycles 10000 --seed 7`.

Each prints its seed first and its result last, as one line of JSON. If a promise is broken, it keeps the log, prints
where it is, and exits with 1. The modules import nothing heavy and do nothing when imported.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # private_postgres, private_citus and the samples of the tests
