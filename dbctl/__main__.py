"""The console script: answers ``--version`` at once, hands everything else to the command line."""

from __future__ import annotations

import gc
import sys

# A command is over in a second or two, in which there is little to find: at Python's own 700 objects the search for
# cycles in all the modules that are being loaded takes a tenth of that.
_COLLECT_AFTER = 200_000, 20, 20


def main() -> None:
    """Run dbctl with the process's arguments and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # No import but our own version: deploy scripts ask for it often, and it must not cost a start-up.
        from dbctl import __version__

        sys.stdout.write(f"dbctl {__version__}\n")
        return
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        from dbctl.cli.root import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # Before the command line could take care of signals itself.
        sys.stderr.write("error: interrupted\n")
        code = 130
    # Else Python looks through all that was loaded once more before it lets go of it.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
