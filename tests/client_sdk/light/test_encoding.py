"""The light client's hand-written encodings against protobuf's, for any content."""

from hypothesis import given, settings
from hypothesis import strategies as st

from abci_app.protocol import blocks as b
from abci_app.protocol.framing import frame
from campaigns.harness import cometbft_blocks as rules
from campaigns.harness.header_chain import Members, header_proto, result_proto
from client_sdk import light
from client_sdk.light.headers import BlockId, root_of

digests = st.one_of(st.just(b""), st.binary(min_size=32, max_size=32))
ids = st.builds(BlockId, digests, st.integers(0, 2**32 - 1), digests)
# Protobuf's timestamps, and Go's, begin with the year 1.
times = st.integers(-62_135_596_800 * 10**9, 4_000_000_000 * 10**9)
int64 = st.integers(-(2**63), 2**63 - 1)
headers = st.builds(
    light.Header,
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.text("abc-é", max_size=20),
    st.integers(1, 2**63 - 1),
    times,
    ids,
    *[digests] * 8,
    st.binary(min_size=20, max_size=20),
)


@given(headers)
@settings(max_examples=60, deadline=None)
def test_a_header_hashes_as_its_protobuf_does(header):
    assert header.hash == rules.header_hash(header_proto(header))


@given(ids, st.integers(1, 2**63 - 1), st.integers(0, 2**31 - 1), times, st.text("abc-é", max_size=50))
@settings(max_examples=60, deadline=None)
def test_a_precommit_is_signed_over_its_protobuf(block_id, height, commit_round, time_ns, chain_id):
    commit = light.Commit(
        height, commit_round, block_id, (light.CommitSignature(light.Flag.COMMIT, b"", time_ns, b""),)
    )
    canonical = b.CanonicalVote(
        type=b.SignedMsgType.SIGNED_MSG_TYPE_PRECOMMIT,
        height=height,
        round=commit_round,
        block_id=b.CanonicalBlockID(hash=block_id.hash),
        timestamp=rules.timestamp(time_ns),
        chain_id=chain_id,
    )
    parts = b.CanonicalPartSetHeader(total=block_id.parts_total, hash=block_id.parts_hash)
    canonical.block_id.part_set_header.CopyFrom(parts)
    assert commit.sign_bytes(chain_id, 0) == frame(canonical.SerializeToString())


@given(st.lists(st.builds(light.TxResult, st.integers(0, 2**32 - 1), st.binary(max_size=40), int64, int64)))
@settings(max_examples=40, deadline=None)
def test_results_hash_as_their_protobuf_does(results):
    assert root_of(result.leaf for result in results) == rules.results_hash(map(result_proto, results))


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 2**40), min_size=1))
@settings(max_examples=30, deadline=None)
def test_a_validator_set_is_ordered_and_hashed_as_cometbft_does(powers):
    members = Members.of(**powers)
    ours = light.ValidatorSet.ordered(reversed(members.set.members))
    assert ours == members.set
    assert ours.hash == rules.validators_hash(members.ordered)
