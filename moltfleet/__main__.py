"""Run the command line as ``python -m moltfleet``."""

from moltfleet.cli import main

if __name__ == "__main__":
    main()
