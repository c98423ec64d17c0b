"""`python -m tuner`: the command line, where its script is not on the path."""

from tuner.cli import main

if __name__ == "__main__":
    main()
