"""``python -m konduktor_health`` is the console script."""

from konduktor_health.cli.app import main

main()
