"""``python -m augforge``, which torchrun needs."""

from augforge.cli import main

main()
