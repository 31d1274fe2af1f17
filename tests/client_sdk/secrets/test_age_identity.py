"""age identities: fresh ones differ, each has one recipient, and what is no identity is not repeated."""

import pytest

from client_sdk.secrets.age_identity import NotAnIdentity, new_identity, recipient_of


def test_every_identity_is_new_and_has_one_recipient():
    first, second = new_identity(), new_identity()
    assert first != second
    assert recipient_of(first) == recipient_of(first) != recipient_of(second)
    assert recipient_of(first).startswith("age1")


@pytest.mark.parametrize(
    "text", ["", "AGE-SECRET-KEY-1QQQ", recipient_of(new_identity())], ids=["empty", "short", "no"]
)
def test_what_is_no_identity_is_refused_without_repeating_it(text):
    with pytest.raises(NotAnIdentity) as refused:
        recipient_of(text)
    assert not text or text not in str(refused.value)
