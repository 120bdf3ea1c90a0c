"""`python -m bulkstatus.cli`."""

import sys

from bulkstatus.cli import main

if __name__ == "__main__":
    sys.exit(main())
