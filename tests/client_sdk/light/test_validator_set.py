"""The light client on a recorded run whose validators changed: the members voted a fifth in, and out again.

``tests/e2e/test_validator_set.py`` made the recording; it follows the whole chain, here are the heights that matter.
"""

import json
from pathlib import Path

import pytest

from client_sdk import light
from client_sdk.documents.strict_json import Answer
from client_sdk.light.documents import read_signed_header, read_validators_page

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "validator-set.json").read_text())
HEIGHTS = sorted(map(int, RECORDED["commit"]))
JOINED, LEFT = RECORDED["joined"], RECORDED["left"]  # The first heights that the new sets decide.
LAST = HEIGHTS[-1]


def signed(height: int) -> light.SignedHeader:
    return read_signed_header(Answer(RECORDED["commit"][str(height)]["signed_header"], "commit"))


def seated(height: int) -> light.ValidatorSet:
    page = read_validators_page(Answer(RECORDED["validators"][str(height)], "validators"))
    return light.ValidatorSet(page.members)


NOW = signed(LAST).header.time_ns + 10**9


def step(state: light.TrustedState, height: int) -> light.TrustedState:
    return light.verify_header(state, signed(height), seated(height), now_ns=NOW)


def fifth() -> light.Validator:
    before = [one.public for one in seated(JOINED - 1).members]
    (new,) = (one for one in seated(JOINED).members if one.public not in before)
    return new


def test_a_light_client_follows_the_chain_over_both_changes():
    state = light.trust_genesis(RECORDED["genesis"])
    for height in HEIGHTS:
        state = step(state, height)
    assert (state.height, len(state.validators.members)) == (LAST, 4)


@pytest.mark.parametrize("target", [JOINED, LEFT - 1, LEFT, LAST])
def test_it_may_go_from_the_genesis_to_any_height_at_once(target):
    assert step(light.trust_genesis(RECORDED["genesis"]), target).header_hash == signed(target).commit.block_id.hash


@pytest.mark.parametrize(("height", "members"), [(JOINED, 5), (LEFT, 4)])
def test_a_new_set_is_announced_one_height_before_it_decides(height, members):
    before = step(light.trust_genesis(RECORDED["genesis"]), height - 1)
    assert before.next_validators_hash == seated(height).hash != before.validators.hash
    assert len(step(before, height).validators.members) == members


@pytest.mark.parametrize("height", [JOINED, LEFT])
def test_the_old_set_is_refused_where_the_new_one_decides(height):
    before = step(light.trust_genesis(RECORDED["genesis"]), height - 1)
    with pytest.raises(light.VerificationFailed, match="validators"):
        light.verify_header(before, signed(height), seated(height - 1), now_ns=NOW)


def test_with_one_of_five_dead_the_fifth_makes_the_quorum():
    """Without its vote the three others would have three fifths, which is too few."""
    alone = next(height for height in HEIGHTS if JOINED < height < LEFT - 2)
    flags = {entry.address: entry.flag for entry in signed(alone).commit.signatures if entry.address}
    assert flags[fifth().address] is light.Flag.COMMIT
    assert sum(flag is light.Flag.COMMIT for flag in flags.values()) == 4
    step(light.trust_genesis(RECORDED["genesis"]), alone)


def test_a_removed_validator_s_address_is_in_no_later_commit():
    for height in (height for height in HEIGHTS if height >= LEFT):
        assert fifth().address not in {entry.address for entry in signed(height).commit.signatures}
