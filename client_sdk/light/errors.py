"""The two ways in which a header or an answer is not accepted, and they must never be mixed up.

``VerificationFailed``: what was shown is not what the validators signed. Somebody lies, or something is broken.
``CannotVerify``: nothing wrong was found, but what is here is not enough to decide. More data, or a newer starting
point of trust, may be.
"""

from ..errors import Kind, SdkError


class LightClientError(SdkError):
    """Root of this package's refusals. ``what`` names the thing that was judged, ``hint`` says what to do."""

    kind = Kind.REFUSED

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why


class VerificationFailed(LightClientError):
    """Evidence that an answer is false. Do not use it, and ask somebody else."""

    hint = "The node's answer contradicts the validators' signatures. Do not use this node; ask its operator why."


class CannotVerify(LightClientError):
    """Not enough to decide: neither true nor false."""

    hint = "Ask a node that keeps the missing blocks, or begin from a newer checkpoint."


class NewerRules(CannotVerify):
    """The ledger has rules of a version that this program does not know, so it cannot tell what its state proves."""

    hint = "Install a fedledger that knows the rules of this version."

    def __init__(self, what: str, version: int, known: tuple[int, ...]) -> None:
        mine = ", ".join(map(str, known))
        super().__init__(what, f"the ledger has rules of version {version}, this program knows {mine}")
        self.version, self.known = version, known


class TrustExpired(CannotVerify):
    """The trusted header is older than the trusting period: its validators' keys may have leaked since."""

    hint = "Get a recent height and block hash from a member you trust, and begin from that checkpoint."


class OverlapTooSmall(CannotVerify):
    """Too few of the validators we trust signed a header that is not the next one: verify one between first."""

    hint = "Verify a header between the two first."
