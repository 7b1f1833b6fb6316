"""Run the command line as ``python -m anyback_nn``."""

import sys

from anyback_nn.cli import main

if __name__ == "__main__":
    sys.exit(main())
