"""Proofs: every honest one is accepted, and no other is.

The trees here are built by this file's own recursive reading of RFC 6962 and of CometBFT's ``ValueOp``, so that an
error in the code under test cannot hide in its own mirror image.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.kernel.merkle import (
    BUCKETS,
    LEAVES_MAX,
    OPERATOR,
    Proof,
    ProofInvalid,
    ProofOp,
    Step,
    bucket_of,
    climb,
    commit_value,
    leaf_hash,
    open_value,
    split_path,
    tree_aunts,
    tree_root,
    verify,
)
from contracts.kernel.state_tree import StateTree

STORES = ("identity", "rounds", "models")
PATH = b"models/versions/0000000007"
BODY = b"the record"
ENTRIES = {b"models/versions/%010d" % number: b"v%d" % number for number in range(300)} | {PATH: BODY}
hashes = st.binary(min_size=32, max_size=32)
unhurried = settings(deadline=None)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def rfc6962(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of RFC 6962 section 2.1, over leaves that are hashed already."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\x01" + rfc6962(leaves[:split]) + rfc6962(leaves[split:]))


def rfc6962_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The audit path of RFC 6962 section 2.1.1."""
    if len(leaves) < 2:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*rfc6962_path(index, leaves[:split]), rfc6962(leaves[split:])]
    return [*rfc6962_path(index - split, leaves[split:]), rfc6962(leaves[:split])]


def stock_verify(root: bytes, keys: list[bytes], value: bytes, steps: Sequence[Step]) -> bool:
    """What CometBFT's own proof runtime checks (crypto/merkle/proof_op.go): no count, no sizes, no places."""
    keys = list(keys)
    for step in steps:
        if step.key and (not keys or keys.pop() != step.key):
            return False
        value = step.root_over(value)
    return not keys and value == root


@pytest.fixture(scope="module")
def tree() -> StateTree:
    return StateTree(STORES, 41, (ENTRIES | {b"rounds/open/1": b"x"}).items())


@pytest.fixture(scope="module")
def proof(tree: StateTree) -> Proof:
    return tree.prove(PATH)


# Hashing ----------------------------------------------------------------------------------------


@given(st.lists(hashes, max_size=70))
def test_roots_and_aunts_are_those_of_rfc_6962(leaves: list[bytes]) -> None:
    joined = b"".join(leaves)
    assert tree_root(joined) == rfc6962(leaves)
    for index, leaf in enumerate(leaves):
        aunts = tree_aunts(joined, index)
        assert list(aunts) == rfc6962_path(index, leaves)
        assert climb(len(leaves), index, leaf, aunts) == tree_root(joined)


def test_rfc_6962_known_answers_hold() -> None:
    """The tree of eight inputs that certificate transparency and CometBFT's rfc6962_test.go publish."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = b"".join(sha(b"\x00" + bytes.fromhex(entry)) for entry in inputs)
    assert tree_root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert tree_root(b"").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_leaf_that_does_not_exist_has_no_aunts() -> None:
    for index in (-1, 2):
        with pytest.raises(IndexError):
            tree_aunts(bytes(64), index)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_leaf_is_a_value_op_leaf(key: bytes, value: bytes) -> None:
    length = bytes([len(key)]) if len(key) < 128 else bytes([len(key) & 127 | 128, len(key) >> 7])
    assert leaf_hash(key, value) == sha(b"\x00" + length + key + b"\x20" + sha(value))


@given(st.integers(1, 40), st.data())
def test_a_climb_with_one_aunt_too_many_or_too_few_is_refused(total: int, data: st.DataObject) -> None:
    leaves = b"".join(sha(bytes([number])) for number in range(total))
    index = data.draw(st.integers(0, total - 1))
    leaf, aunts = leaves[32 * index : 32 * index + 32], tree_aunts(leaves, index)
    for wrong in ((*aunts, bytes(32)), aunts[:-1]):
        if wrong != aunts:
            with pytest.raises(ProofInvalid, match="aunts"):
                climb(total, index, leaf, wrong)


@pytest.mark.parametrize(("total", "index"), [(0, 0), (1, 1), (1, -1), (-1, 0), (LEAVES_MAX + 1, 0), (2**200, 5)])
def test_a_place_outside_the_tree_is_refused(total: int, index: int) -> None:
    with pytest.raises(ProofInvalid, match="place"):
        climb(total, index, bytes(32), ())


@pytest.mark.parametrize(("leaf", "aunt"), [(31, 32), (33, 32), (32, 31), (32, 0)])
def test_a_digest_of_the_wrong_length_is_refused(leaf: int, aunt: int) -> None:
    """Without this a 65-byte leaf could be read as an inner node and its halves moved about."""
    with pytest.raises(ProofInvalid, match="digests"):
        climb(2, 0, bytes(leaf), (bytes(aunt),))


# Paths and values -------------------------------------------------------------------------------


def test_a_path_is_split_at_its_first_slash() -> None:
    assert split_path(b"models/versions/7") == ("models", b"versions/7")


@pytest.mark.parametrize(
    "path", [b"", b"models", b"/models", b"models/", b"models/x:6162", b"mod\xc3\xa9ls/a", b"m/" + bytes(254)]
)
def test_a_path_that_could_not_be_queried_is_refused(path: bytes) -> None:
    with pytest.raises(ValueError, match=r"path|store"):
        split_path(path)


def test_a_committed_value_is_never_as_long_as_a_digest() -> None:
    assert commit_value(PATH, b"x") == sha(PATH) + b"x"
    with pytest.raises(ValueError, match="empty body"):
        commit_value(PATH, b"")


@given(st.binary(min_size=1))
def test_a_value_opens_at_its_own_path_only(body: bytes) -> None:
    value = commit_value(PATH, body)
    assert open_value(PATH, value) == body
    with pytest.raises(ProofInvalid, match="value"):
        open_value(b"models/other", value)


@pytest.mark.parametrize("value", [b"", b"body", sha(PATH), sha(PATH)[:-1], sha(PATH)[1:] + b"body"])
def test_a_value_without_its_prefix_or_its_body_does_not_open(value: bytes) -> None:
    with pytest.raises(ProofInvalid, match="value"):
        open_value(PATH, value)


# Acceptance -------------------------------------------------------------------------------------


def test_every_entry_is_proved_to_us_and_to_a_stock_light_client(tree: StateTree) -> None:
    for path, body in ENTRIES.items():
        proof = tree.prove(path)
        verify(tree.root, STORES, path, body, Proof.decode(proof.encode()))
        store, key = split_path(path)
        assert stock_verify(tree.root, [store.encode(), key], commit_value(path, body), proof.steps)


def test_the_committed_format_has_not_moved() -> None:
    """This state's root; CometBFT v0.39.4's own crypto/merkle accepted its proofs when this was written."""
    tree = StateTree(("identity", "models"), 0, [(b"models/a", b"1"), (b"models/b", b"2")])
    assert tree.root.hex() == "63d598a78b93598588662cd37efa6698b4d927795a3db4f4fa72f05055d86c85"
    assert [len(operator.data) for operator in tree.prove(b"models/a").encode()] == [41, 589, 82]


def test_a_proof_has_three_operators_with_the_documented_keys_and_places(proof: Proof) -> None:
    entry, bucket, store = proof.steps
    assert (entry.key, bucket.key, store.key) == (b"versions/0000000007", b"", b"models")
    assert (bucket.total, bucket.index) == (BUCKETS, bucket_of(PATH))
    assert (store.total, store.index) == (3, 2)
    assert [operator.type for operator in proof.encode()] == [OPERATOR] * 3


# Refusal ----------------------------------------------------------------------------------------


def flips(proof: Proof) -> Iterator[list[ProofOp]]:
    """The operators of a proof with one bit changed, for every bit of every key and data."""
    operators = proof.encode()
    for number, operator in enumerate(operators):
        for field in ("key", "data"):
            content = getattr(operator, field)
            for bit in range(8 * len(content)):
                flipped = bytearray(content)
                flipped[bit >> 3] ^= 1 << (bit & 7)
                forged = list(operators)
                forged[number] = operator._replace(**{field: bytes(flipped)})
                yield forged


def test_any_flipped_bit_of_a_proof_is_refused(tree: StateTree, proof: Proof) -> None:
    for forged in flips(proof):
        with pytest.raises(ProofInvalid):
            verify(tree.root, STORES, PATH, BODY, Proof.decode(forged))


def test_in_a_crowded_bucket_only_an_equivalent_place_survives_a_flipped_bit() -> None:
    """Leaf 0 of 5 and leaf 0 of 7 turn alike on the way up: the same statement, so the place proves nothing."""
    crowd = [path for path in (b"models/%d" % number for number in range(200_000)) if bucket_of(path) == 7]
    tree = StateTree(STORES, 0, [(path, b"x") for path in crowd])
    for path in crowd:
        proof = tree.prove(path)
        for forged in flips(proof):
            try:
                survivor = Proof.decode(forged)
                verify(tree.root, STORES, path, b"x", survivor)
            except ProofInvalid:
                continue
            entry = replace(survivor.steps[0], total=len(crowd), index=proof.steps[0].index)
            assert (entry, *survivor.steps[1:]) == proof.steps


def test_another_root_body_path_or_list_of_stores_is_refused(tree: StateTree, proof: Proof) -> None:
    claims = [
        ("root", (bytes(32), STORES, PATH, BODY)),
        ("root", (b"", STORES, PATH, BODY)),
        ("leaf", (tree.root, STORES, PATH, BODY + b"s")),
        ("entry key", (tree.root, STORES, b"models/versions/0000000008", BODY)),
        ("bucket place", (tree.root, STORES, b"rounds/versions/0000000007", BODY)),
        ("store", (tree.root, STORES, b"nowhere/versions/0000000007", BODY)),
        ("store place", (tree.root, STORES[::-1], PATH, BODY)),
        ("store place", (tree.root, (*STORES, "governance"), PATH, BODY)),
    ]
    for what, claim in claims:
        with pytest.raises(ProofInvalid) as refusal:
            verify(*claim, proof)
        assert refusal.value.what == what


@pytest.mark.parametrize(("step", "what"), [(0, "entry key"), (1, "bucket key"), (2, "store key")])
def test_a_step_under_another_key_is_refused(tree: StateTree, proof: Proof, step: int, what: str) -> None:
    steps = list(proof.steps)
    steps[step] = replace(steps[step], key=b"rounds")
    with pytest.raises(ProofInvalid) as refusal:
        verify(tree.root, STORES, PATH, BODY, Proof(tuple(steps)))
    assert refusal.value.what == what


def test_a_proof_of_the_previous_version_is_refused_against_the_next_root(tree: StateTree, proof: Proof) -> None:
    after = tree.stage({b"identity/organisations/hospital-a": b"enrolled"})
    with pytest.raises(ProofInvalid, match="root"):
        verify(after.root, STORES, PATH, BODY, proof)
    verify(after.root, STORES, PATH, BODY, after.prove(PATH))


def test_missing_extra_and_reordered_operators_are_refused(tree: StateTree, proof: Proof) -> None:
    entry, bucket, store = proof.steps
    for steps in ((), (entry,), (entry, bucket), (bucket, store), (*proof.steps, store), (entry, entry, bucket, store)):
        with pytest.raises(ProofInvalid, match="operators"):
            verify(tree.root, STORES, PATH, BODY, Proof(steps))
        with pytest.raises(ProofInvalid, match="operators"):
            Proof.decode(Proof(steps).encode())
    for steps in ((bucket, entry, store), (store, bucket, entry), (entry, store, bucket)):
        with pytest.raises(ProofInvalid, match="key"):
            verify(tree.root, STORES, PATH, BODY, Proof(steps))


@pytest.mark.parametrize(
    ("step", "change", "what"),
    [
        (1, {"index": 0}, "bucket place"),
        (1, {"total": BUCKETS * 2}, "bucket place"),
        (2, {"index": 1}, "store place"),
        (2, {"total": 4}, "store place"),
        (0, {"total": 2**40}, "place"),
        (0, {"index": 9}, "place"),
    ],
)
def test_a_wrong_size_or_place_is_refused(
    tree: StateTree, proof: Proof, step: int, change: dict[str, int], what: str
) -> None:
    steps = list(proof.steps)
    steps[step] = replace(steps[step], **change)
    with pytest.raises(ProofInvalid, match=what):
        verify(tree.root, STORES, PATH, BODY, Proof(tuple(steps)))


def test_a_value_committed_without_its_prefix_is_refused() -> None:
    """A node whose tree commits bare bodies has another root rule; its proofs do not pass ours."""
    _, key = split_path(PATH)
    entry, bucket, store = StateTree(STORES, 1, {PATH: BODY}.items()).prove(PATH).steps
    bare = replace(entry, leaf=leaf_hash(key, BODY))
    bucket = replace(bucket, leaf=leaf_hash(b"", bare.root_over(BODY)))
    store = replace(store, leaf=leaf_hash(b"models", climb(bucket.total, bucket.index, bucket.leaf, bucket.aunts)))
    root = climb(store.total, store.index, store.leaf, store.aunts)
    assert stock_verify(root, [b"models", key], BODY, (bare, bucket, store))
    with pytest.raises(ProofInvalid, match="leaf"):
        verify(root, STORES, PATH, BODY, Proof((bare, bucket, store)))


def test_the_chosen_root_forgery_succeeds_without_the_prefix_and_is_refused_with_it(tree: StateTree) -> None:
    """A member stores a digest that is the root of its own tree; a lying node prepends the step that leads there."""
    lie = b"a record that was never written"
    own_tree = Step(b"", 1, 0, leaf_hash(b"", lie), ())
    chosen_root = own_tree.root_over(lie)
    _, key = split_path(PATH)

    # Where bodies are committed bare, a stock verifier believes the lie.
    entry, bucket, store = StateTree(STORES, 1, {PATH: chosen_root}.items()).prove(PATH).steps
    bare = replace(entry, leaf=leaf_hash(key, chosen_root))
    bucket = replace(bucket, leaf=leaf_hash(b"", bare.root_over(chosen_root)))
    store = replace(store, leaf=leaf_hash(b"models", climb(bucket.total, bucket.index, bucket.leaf, bucket.aunts)))
    root = climb(store.total, store.index, store.leaf, store.aunts)
    forged = (own_tree, bare, bucket, store)
    assert stock_verify(root, [b"models", key], lie, forged)

    # With the prefix no verifier does: the committed value is no digest, so nothing can lead to it...
    honest = tree.stage({PATH: chosen_root})
    forged = (own_tree, *honest.prove(PATH).steps)
    with pytest.raises(ProofInvalid, match="leaf"):
        stock_verify(honest.root, [b"models", key], lie, forged)
    # ...and ours counts the operators before it hashes anything, whichever one the liar leaves out.
    with pytest.raises(ProofInvalid, match="operators"):
        verify(honest.root, STORES, PATH, lie, Proof(forged))
    for left_out in range(4):
        with pytest.raises(ProofInvalid):
            verify(honest.root, STORES, PATH, lie, Proof(forged[:left_out] + forged[left_out + 1 :]))


def test_a_bucket_root_cannot_pass_for_an_entry(tree: StateTree, proof: Proof) -> None:
    """Dropping the lowest step would prove a digest as a record; an entry needs a key, and a key is never empty."""
    with pytest.raises(ValueError, match="store"):
        verify(tree.root, STORES, b"models/", BODY, proof)


# Encoding ---------------------------------------------------------------------------------------


def protobuf_value_op():
    """CometBFT's ValueOp, from its .proto, in a pool of its own."""
    file = descriptor_pb2.FileDescriptorProto(name="proof.proto", package="oracle", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    inner = file.message_type.add(name="Proof")
    inner.field.add(name="total", number=1, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL)
    inner.field.add(name="index", number=2, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL)
    inner.field.add(name="leaf_hash", number=3, type=kinds.TYPE_BYTES, label=kinds.LABEL_OPTIONAL)
    inner.field.add(name="aunts", number=4, type=kinds.TYPE_BYTES, label=kinds.LABEL_REPEATED)
    outer = file.message_type.add(name="ValueOp")
    outer.field.add(name="key", number=1, type=kinds.TYPE_BYTES, label=kinds.LABEL_OPTIONAL)
    outer.field.add(
        name="proof", number=2, type=kinds.TYPE_MESSAGE, type_name=".oracle.Proof", label=kinds.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("oracle.ValueOp"))


VALUE_OP = protobuf_value_op()
steps = st.integers(1, 2**63 - 1).flatmap(
    lambda total: st.builds(
        Step,
        key=st.binary(max_size=255),
        total=st.just(total),
        index=st.integers(0, total - 1),
        leaf=hashes,
        aunts=st.lists(hashes, max_size=32).map(tuple),
    )
)


@unhurried
@given(st.tuples(steps, steps, steps))
def test_encoding_is_protobufs_own_and_decodes_to_the_same_proof(three: tuple[Step, Step, Step]) -> None:
    operators = Proof(three).encode()
    for step, operator in zip(three, operators, strict=True):
        oracle = VALUE_OP(key=step.key)
        oracle.proof.total, oracle.proof.index, oracle.proof.leaf_hash = step.total, step.index, step.leaf
        oracle.proof.aunts.extend(step.aunts)
        assert operator == ProofOp("simple:v", step.key, oracle.SerializeToString(deterministic=True))
    assert Proof.decode(operators) == Proof(three)


@pytest.mark.parametrize(("total", "index"), [(0, 0), (1, 1), (5, 7)])
def test_a_place_outside_of_its_tree_is_refused_before_it_is_climbed(total: int, index: int) -> None:
    outside = Proof((Step(b"", total, index, b"", ()),) * 3).encode()
    with pytest.raises(ProofInvalid, match="no place"):
        Proof.decode(outside)


@unhurried
@given(st.binary(max_size=200))
@example(b"\x12\x00")  # The one canonical operator that short, of a tree without leaves.
def test_arbitrary_bytes_are_refused_as_an_operator_never_with_another_error(data: bytes) -> None:
    with pytest.raises(ProofInvalid, match="operator"):
        Proof.decode([ProofOp(OPERATOR, b"", data)] * 3)


def test_a_second_spelling_of_the_same_operator_is_refused(proof: Proof) -> None:
    entry, bucket, store = proof.encode()
    body = bucket.data[3:]  # Of the proof message: tag 12 and a length of two bytes come first.
    assert bucket.data[:1] == b"\x12"
    spellings = {
        "unknown field": bucket.data + b"\x18\x01",
        "repeated field": bucket.data + bucket.data,
        "explicit empty key": b"\x0a\x00" + bucket.data,
        "long form of a length": b"\x12" + bucket.data[1:2] + bytes([bucket.data[2] | 0x80]) + b"\x00" + body,
        "truncated": bucket.data[:-1],
        "inside a number": bucket.data[:1] + b"\xff",
        "endless number": b"\x12" + b"\xff" * 40,
        "another key inside": entry.data,
        "too long": bucket.data + bytes(2_048),
    }
    for data in spellings.values():
        with pytest.raises(ProofInvalid, match="operator"):
            Proof.decode([entry, bucket._replace(data=data), store])


def test_an_operator_longer_than_any_of_ours_is_refused_unread(proof: Proof) -> None:
    entry, bucket, store = proof.steps
    endless = replace(bucket, aunts=(bytes(32),) * 100)
    with pytest.raises(ProofInvalid, match="bytes, at most"):
        Proof.decode(Proof((entry, endless, store)).encode())


def test_another_operator_type_is_refused(proof: Proof) -> None:
    entry, bucket, store = proof.encode()
    with pytest.raises(ProofInvalid, match="type"):
        Proof.decode([entry, bucket._replace(type="ics23:iavl"), store])
