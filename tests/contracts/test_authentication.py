"""What a stranger can make a validator do: nothing is decoded that nobody has signed."""

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import HOSPITAL_A, reserve
from campaigns.hostile import forgery
from contracts.kernel import envelope
from contracts.transition import BadSignature, MalformedTransaction


def test_deeply_nested_bytes_are_refused_and_exhaust_nothing() -> None:
    chain = consortium.equipped()
    deep = b"\x81" * 40_000 + b"\x80"
    chain.refused_raw(MalformedTransaction, carrying(chain, deep))


def test_nothing_is_decoded_before_its_signature_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names another's key would have every validator decode 48 kB for nothing."""
    chain = consortium.equipped()
    forged = carrying(chain, b"\x81" * 40_000)[:-64] + bytes(64)
    monkeypatch.setattr(envelope.Sealed, "opened", lambda _: pytest.fail("it was decoded"))
    chain.refused_raw(BadSignature, forged)


def carrying(chain: Chain, payload: bytes) -> bytes:
    """An envelope of hospital A that holds these bytes and is signed."""
    protected = envelope.parse(chain.seal(HOSPITAL_A, reserve())).protected
    return forgery.signed(HOSPITAL_A.worker.seed, protected, payload)
