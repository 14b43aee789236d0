"""`python -m puna` is the command `puna`."""

from puna.cli import main

if __name__ == "__main__":
    main()
