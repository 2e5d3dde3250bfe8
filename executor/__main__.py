"""Let `python -m executor`, and so `torchrun -m executor`, be the `spdsim-exec` command."""

from executor.cli import main

if __name__ == "__main__":
    main()
