"""The ledger tells CometBFT of its validators: whom it starts with, what a block changes, the same after a crash."""

import base64
import contextlib
import json

import pytest
from nacl.signing import SigningKey

from abci_app.app import LedgerApplication
from abci_app.protocol import messages as m
from abci_app.protocol.application import Halt
from abci_app.protocol.server import Server
from abci_app.store.memory_store import MemoryStore
from campaigns.harness import cometbft_blocks as rules
from campaigns.harness import consortium
from campaigns.harness.chain import CHAIN_ID, Chain
from campaigns.harness.consortium import HOSPITAL_C, LAB, MEMBERS, OPERATORS
from contracts.governance import AdmitValidator, Propose, RemoveValidator, Vote
from contracts.kernel import limits
from contracts.validators import SET
from tests import consensus

POWER = limits.VALIDATOR_POWER
NEW = HOSPITAL_C.validator
ADMISSION = AdmitValidator(NEW.admission(), replaces=None)


def genesis(**changes):
    """CometBFT's genesis for the ledger of ``campaigns.harness.consortium``."""
    keys = {}
    for member in (*OPERATORS, HOSPITAL_C):
        one = rules.Validator(member.validator.public, POWER)
        keys[one.address] = SigningKey(member.validator.seed)
    stated = base64.b64encode(consortium.founded_by().encode()).decode("ascii")
    given = {
        "chain_id": CHAIN_ID,
        "validators": rules.ordered(rules.Validator(member.validator.public, POWER) for member in OPERATORS),
        "keys": keys,
        "app_state": json.dumps({"fedledger": stated}).encode("ascii"),
    }
    return consensus.Genesis(**(given | changes))


@contextlib.asynccontextmanager
async def running(tmp_path, chain, name="one", store=None):
    """The ledger behind its socket, and a mock CometBFT that has shaken hands with it."""
    async with Server(LedgerApplication(store or MemoryStore()), f"unix://{tmp_path}/{name}.sock") as server:
        node = consensus.Node(chain, server.address)
        await node.start()
        yield node
        await node.disconnect()


class Electorate:
    """The members' envelopes, in the order in which they decide on a motion."""

    def __init__(self):
        self.clerk = Chain(consortium.founded_by())  # Only seals.
        self.clerk.height = 0

    def motion(self, number, action):
        """What it takes to pass a proposal: five of seven members."""
        first, *others = MEMBERS[:5]
        return [
            self.seal(first, Propose(action)),
            *(self.seal(member, Vote(number, approve=True)) for member in others),
        ]

    def seal(self, member, message):
        return self.clerk.seal(member, message, valid_until=100)


def told(node, height):
    return [(one.pub_key.ed25519, one.power) for one in node.chain.results[height].validator_updates]


async def test_an_admitted_validator_decides_blocks_two_heights_later_and_a_removed_one_no_more(tmp_path):
    votes = Electorate()
    async with running(tmp_path, consensus.Chain(genesis())) as node:
        await node.produce(txs=votes.motion(1, ADMISSION))
        assert told(node, 1) == [(NEW.public, POWER)]
        await node.produce()
        await node.produce()
        assert told(node, 2) == told(node, 3) == []
        assert [len(node.chain.before(height).validators) for height in (2, 3, 4)] == [4, 5, 5]
        await node.produce(txs=votes.motion(2, RemoveValidator(LAB.validator.public)))
        assert told(node, 4) == [(LAB.validator.public, 0)]
        await node.produce()
        await node.produce()
        deciding = {one.pub_key for one in node.chain.before(7).validators}
        assert deciding == {member.validator.public for member in (*OPERATORS, HOSPITAL_C)} - {LAB.validator.public}


async def test_what_one_block_admits_and_removes_is_not_told(tmp_path):
    """CometBFT would stop for a key that is named twice, and for the removal of one that it never had."""
    votes = Electorate()
    async with running(tmp_path, consensus.Chain(genesis())) as node:
        await node.produce(txs=[*votes.motion(1, ADMISSION), *votes.motion(2, RemoveValidator(NEW.public))])
        assert [result.code for result in node.chain.results[1].tx_results] == [0] * 10
        assert told(node, 1) == []
        await node.produce(txs=votes.motion(3, ADMISSION))
        await node.produce(txs=[*votes.motion(4, RemoveValidator(NEW.public)), *votes.motion(5, ADMISSION)])
        assert told(node, 2) == [(NEW.public, POWER)]
        assert told(node, 3) == []


async def test_a_replaced_validator_and_its_successor_are_told_in_the_order_of_their_keys(tmp_path):
    votes = Electorate()
    async with running(tmp_path, consensus.Chain(genesis())) as node:
        await node.produce(txs=votes.motion(1, AdmitValidator(NEW.admission(), replaces=LAB.validator.public)))
        assert told(node, 1) == sorted([(NEW.public, POWER), (LAB.validator.public, 0)])


async def test_a_block_that_is_decided_again_after_a_crash_tells_the_same(tmp_path):
    """CometBFT died between FinalizeBlock and Commit; it compares nothing itself, so a difference would be a fork."""
    votes, chain = Electorate(), consensus.Chain(genesis())
    async with running(tmp_path, chain) as node:
        first = await node.prepare()
        await node.apply(first)
        block = chain.make_block(votes.motion(1, ADMISSION), None, 0, ())
        before = await node.finalize(block)
        await node.disconnect()
        await node.start()  # Replays it.
        assert node.state_height == block.height
        assert list(chain.results[block.height].validator_updates) == list(before.validator_updates) != []
        await node.produce()
    async with running(tmp_path, chain, "late") as late:
        await late.catch_up()  # From genesis: Chain.extend holds each height to what it led to.
        assert told(late, block.height) == [(NEW.public, POWER)]


async def test_the_first_block_may_change_the_validators_of_the_genesis(tmp_path):
    """Before the first commit the genesis is in memory only; the difference is to it all the same."""
    votes = Electorate()
    async with running(tmp_path, consensus.Chain(genesis())) as node:
        await node.produce(txs=votes.motion(1, AdmitValidator(NEW.admission(), replaces=LAB.validator.public)))
        answer = await node.query("/store/validators/key", b"set")
        stored = SET.read(bytes(answer.value[32:]))  # After SHA-256 of the path.
        assert {one.public for one in stored.validators} == {
            one.pub_key for one in node.chain.states[1].next_validators
        }


@pytest.mark.parametrize(
    ("stated", "differs"),
    [(OPERATORS[:3], OPERATORS[3]), ((*OPERATORS, HOSPITAL_C), HOSPITAL_C)],
    ids=["one too few", "one too many"],
)
def test_a_genesis_whose_validators_are_not_cometbfts_does_not_begin(stated, differs):
    with pytest.raises(Halt, match=f"the validator {differs.validator.public.hex()}"):
        begin(rules.Validator(member.validator.public, POWER) for member in stated)


def test_a_genesis_with_another_power_does_not_begin():
    stated = [rules.Validator(member.validator.public, POWER + (member is LAB)) for member in OPERATORS]
    with pytest.raises(Halt, match=f"{LAB.validator.public.hex()} the power 11 in `validators` and 10"):
        begin(stated)


def test_a_genesis_with_a_key_of_another_kind_does_not_begin():
    stated = [rules.Validator(member.validator.public, POWER).update() for member in OPERATORS]
    stated[0].pub_key.secp256k1 = bytes(33)
    with pytest.raises(Halt, match="in `validators`"):
        begin_with(stated)


def begin(stated):
    begin_with([one.update() for one in stated])


def begin_with(updates):
    request = m.RequestInitChain(
        chain_id=CHAIN_ID, validators=updates, app_state_bytes=genesis().app_state, initial_height=1
    )
    LedgerApplication(MemoryStore()).init_chain(request)
