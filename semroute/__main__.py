"""`python -m semroute`."""

from semroute.cli import main

if __name__ == "__main__":
    main()
