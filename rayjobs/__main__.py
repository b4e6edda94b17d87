"""`python -m rayjobs`: the same as the command `rayjobs`."""

from rayjobs.cli import main

if __name__ == "__main__":
    main()
