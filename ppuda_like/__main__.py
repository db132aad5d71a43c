"""``python -m ppuda_like``: the same as the command ``ppuda-like``."""

from ppuda_like.cli import main

if __name__ == "__main__":
    main()
