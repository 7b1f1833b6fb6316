"""Run the command line, as ``anyback-nn`` or ``python -m anyback_nn``."""

import sys


def run() -> int:
    """Run the program, whose imports Ctrl-C may interrupt too; return the exit status."""
    try:
        from anyback_nn.cli import main

        return main()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
