"""Whether a stage's result still stands.

A stamp is a file that holds the fingerprint of everything that decided a result. It lives inside the folder
that it vouches for, so deleting the folder deletes the claim. Leaves to others: producing the result.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


def fingerprint(parts: Iterable[bytes | str]) -> str:
    """Hash the inputs of a stage. Parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


@dataclass(frozen=True)
class Stamp:
    """The claim that `products` were made from the inputs behind `key`."""

    path: Path
    key: str
    products: tuple[Path, ...]

    def stands(self) -> bool:
        """Tell whether the claim was written, for these inputs, and every product is still there."""
        try:
            written = self.path.read_text()
        except OSError:
            return False
        return written.strip() == self.key and all(product.exists() for product in self.products)

    def write(self) -> None:
        """Make the claim. Only now: a stage that was cut short leaves no stamp and is resumed."""
        missing = [str(product) for product in self.products if not product.exists()]
        if missing:
            raise FileNotFoundError(f"finished without making {', '.join(missing)}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(self.path.name + ".new")
        draft.write_text(self.key + "\n")
        draft.replace(self.path)

    def withdraw(self) -> None:
        """Take the claim back, before the products change."""
        self.path.unlink(missing_ok=True)
