"""`python -m app` is `sightline`."""

from app.cli import main

main()
