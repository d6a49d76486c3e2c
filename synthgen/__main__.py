"""`python -m synthgen` and `accelerate launch -m synthgen` are the `synthgen` command."""

from synthgen.cli import main

if __name__ == "__main__":
    main()
