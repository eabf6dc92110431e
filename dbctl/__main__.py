"""The console script: answers ``--version`` at once, hands everything else to the command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run dbctl with the process's arguments and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # No import but our own version: deploy scripts ask for it often, and it must not cost a start-up.
        from dbctl import __version__

        sys.stdout.write(f"dbctl {__version__}\n")
        return
    try:
        from dbctl.cli.root import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Before the command line could take care of signals itself.
        sys.stderr.write("error: interrupted\n")
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
