"""The menu of measurements: ``make bench``, or ``make bench ARGS=quiet_attacks`` for one of them."""

import runpy
import sys
from pathlib import Path


def main() -> int:
    """Run the named measurement, or list them all."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    if len(sys.argv) > 1 and sys.argv[1] in names:
        name = sys.argv[1]
        sys.argv = [name, *sys.argv[2:]]  # As if it had been called itself: results record their command.
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
        return 0
    print("python -m benchmarks NAME [options], where NAME is one of: " + ", ".join(names))
    return 0 if len(sys.argv) == 1 else 2


if __name__ == "__main__":
    sys.exit(main())
