"""`python -m analyze.infer`."""

import sys

from analyze.infer.command import main

if __name__ == "__main__":
    sys.exit(main())
