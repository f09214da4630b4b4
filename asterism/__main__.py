"""`python -m asterism` is `asterism`."""

from asterism.apps.cli import main

main()
