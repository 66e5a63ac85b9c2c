"""``python -m seismolog.integrate deploy`` writes the files of ``deploy/`` again."""

from __future__ import annotations

import sys
from pathlib import Path

from seismolog.integrate.render import DEPLOYED, render

for name, (target, via) in DEPLOYED.items():
    path = Path(sys.argv[1]) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(target, via=via), encoding="utf-8")
