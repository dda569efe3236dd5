"""Write the figures that `onepath spaces` prints: `python scripts/space_figures.py`, about a minute.

Run it after a change of a ready-made space or of what the costs count. `pytest -m slow tests/cli/test_catalogue.py`
says whether the file is up to date.
"""

from __future__ import annotations

import json
from pathlib import Path

from onepath import spaces
from onepath.cli.catalogue import FIGURES, measure_space

if __name__ == "__main__":
    lines = ",\n".join(json.dumps(measure_space(name)) for name in spaces.names())
    (Path(__file__).parents[1] / "src" / "onepath" / FIGURES).write_text(f"[\n{lines}\n]\n")
