"""`python -m analyze.servers`: works alone, with nothing installed but Python."""

from analyze.servers.command import main

raise SystemExit(main())
