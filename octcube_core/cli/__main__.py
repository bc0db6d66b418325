"""``python -m octcube_core.cli``."""

import sys

from octcube_core.cli import main

sys.exit(main())
