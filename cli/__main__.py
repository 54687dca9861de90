"""`python -m cli verify ...`, the same as the console script `assay`."""

import sys

from cli.main import main

if __name__ == "__main__":
    sys.exit(main())
