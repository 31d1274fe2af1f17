"""``python -m cli``: the same as ``fedledger``, for a source tree that is not installed."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
