"""`python -m analyze.annotate`."""

import sys

if __name__ == "__main__":  # worker processes import this module too, and need nothing of it
    from analyze.annotate.command import main

    sys.exit(main())
