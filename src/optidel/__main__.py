"""``python -m optidel``."""

from optidel.cli import main

main()
