"""`python -m controller.app` is `reactivate`."""

from controller.app.main import main

main()
