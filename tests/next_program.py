"""The program of a node that knows version 2 of the rules (``tests.licences``): ``python -m tests.next_program``."""

import sys

from abci_app.__main__ import main
from tests import licences

if __name__ == "__main__":
    with licences.in_the_code():
        sys.exit(main(book=licences.BOOK))
