"""`python -m analyze.pipeline`."""

import sys

from analyze.pipeline.command import main

if __name__ == "__main__":
    sys.exit(main())
