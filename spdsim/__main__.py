"""Let `python -m spdsim` be the `spdsim` command."""

from spdsim.cli import main

if __name__ == "__main__":
    main()
