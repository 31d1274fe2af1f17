"""Entry point: refuses an old Python in words, then hands over.

Kept free of modern syntax, so that an old Python reads as far as the refusal.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python is exactly what this line meets
    sys.exit(
        "fedledger needs Python 3.11 or newer, and %s is %d.%d.\n"  # noqa: UP031 - as above
        "Name another one, for example:  make setup PYTHON=python3.12"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )

from scripts.setup.command import main

sys.exit(main())
