"""`python -m analyze` is `analyze`."""

import sys

from analyze.cli import main

sys.exit(main())
