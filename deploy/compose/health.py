"""Exit status 0 where the daemon says that it is well: the health check of compose.yaml."""

import sys
from urllib.request import urlopen

with urlopen("http://127.0.0.1:9514/healthz", timeout=4) as answer:
    sys.exit(0 if answer.status == 200 else 1)
