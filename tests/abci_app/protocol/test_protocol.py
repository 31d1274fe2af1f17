"""The descriptor set is what the ``.proto`` files say, and both are what CometBFT speaks."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from abci_app.protocol import DESCRIPTORS, blocks, messages
from scripts import gen_protos

# From CometBFT v0.40.0, proto/tendermint/abci/types.proto; v0.38 has all but the last two of each.
REQUEST_TAGS = {
    "echo": 1,
    "flush": 2,
    "info": 3,
    "init_chain": 5,
    "query": 6,
    "check_tx": 8,
    "commit": 11,
    "list_snapshots": 12,
    "offer_snapshot": 13,
    "load_snapshot_chunk": 14,
    "apply_snapshot_chunk": 15,
    "prepare_proposal": 16,
    "process_proposal": 17,
    "extend_vote": 18,
    "verify_vote_extension": 19,
    "finalize_block": 20,
    "insert_tx": 21,
    "reap_txs": 22,
}
RESPONSE_TAGS = {"exception": 1} | {call: tag + 1 for call, tag in REQUEST_TAGS.items()}


def test_the_descriptor_set_is_compiled_from_the_proto_files_beside_it():
    pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools compiles the protos")
    assert gen_protos.compile_protos() == DESCRIPTORS.read_bytes()


def test_the_check_of_the_generator_finds_nothing_stale():
    pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools compiles the protos")
    assert gen_protos.main(["--check"]) == 0


def test_the_type_stubs_are_made_from_the_descriptor_set():
    for name, text in gen_protos.stubs(DESCRIPTORS.read_bytes()).items():
        assert (gen_protos.PROTOCOL / name).read_text() == text


def test_requests_and_responses_carry_the_tags_of_abci_2():
    for message, tags in ((messages.Request, REQUEST_TAGS), (messages.Response, RESPONSE_TAGS)):
        assert {field.name: field.number for field in message.DESCRIPTOR.fields} == tags


def test_a_request_has_the_bytes_that_cometbft_sends():
    # Tag 8 (length-delimited), length 5; inside it tag 1, length 3, the transaction; type NEW is not sent.
    sent = bytes.fromhex("42050a03613d62")
    assert messages.Request.FromString(sent).check_tx.tx == b"a=b"
    assert messages.Request(check_tx=messages.RequestCheckTx(tx=b"a=b")).SerializeToString() == sent


def test_an_unknown_field_of_a_later_version_is_no_error():
    later = messages.RequestInfo(version="9").SerializeToString() + bytes.fromhex("fa0101ff")
    assert messages.RequestInfo.FromString(later).version == "9"


def test_messages_and_blocks_share_their_classes():
    answer = messages.ResponseQuery(proof_ops=blocks.ProofOps(ops=[blocks.ProofOp(type="simple:v")]))
    assert type(answer.proof_ops.ops[0]) is blocks.ProofOp
    assert type(messages.RequestInitChain().time) is blocks.Timestamp


def test_enums_have_their_values_as_attributes():
    assert messages.CheckTxType.RECHECK == 1
    assert messages.CheckTxType.Name(1) == "RECHECK"
    assert messages.ResponseProcessProposal.REJECT == 2
    assert blocks.BlockIDFlag.BLOCK_ID_FLAG_COMMIT == 2


def test_nothing_of_ours_is_in_the_default_descriptor_pool():
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("tendermint.abci.Request")


def test_another_packages_copy_of_the_protos_does_not_collide_with_ours():
    rival = descriptor_pb2.FileDescriptorProto(
        name="tendermint/abci.proto",
        package="tendermint.abci",
        message_type=[descriptor_pb2.DescriptorProto(name="Request")],
    )
    theirs = descriptor_pool.DescriptorPool()
    theirs.Add(rival)
    assert not theirs.FindMessageTypeByName("tendermint.abci.Request").fields
    assert messages.Request.DESCRIPTOR.fields
