"""`python -m gexsent`: the same as the command `gexsent`."""

from gexsent.cli import main

if __name__ == "__main__":
    main()
