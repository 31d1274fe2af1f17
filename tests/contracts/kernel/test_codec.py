"""The codec: one form for every record, and a reason for every other form."""

import re
import types
from dataclasses import fields
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import cbor2
import cbrrr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.harness.consortium import TERMS
from contracts.contributions import Seat
from contracts.governance import OpenTask, Propose, Vote
from contracts.identity import AddKey
from contracts.kernel import Event, Message, Record, codec, limits, renyi
from contracts.kernel import types as bounds
from contracts.kernel.cborcheck import CANONICAL, NOT_CANONICAL
from contracts.kernel.codec import Malformed, decode, encode, kebab, shape_of
from contracts.kernel.crypto import SelfTestFailed
from contracts.kernel.types import Height, Label, OrgId, Purpose, Role
from contracts.possession import NewKey
from contracts.terms import Terms

MOST = 10**6
TEXT, RANGE = bounds.Text(3, re.compile("a*", re.ASCII)), bounds.Range(0, 3)


class Key(Record):
    """A record of every plain kind of field."""

    organisation: OrgId
    purpose: Purpose
    label: Label
    added_at: Height
    revoked_from: Height | None


KEY = Key("hospital-a", Purpose.HUMAN, "label", 3, None)


def records() -> list[type[Record]]:
    """Every record type that is declared anywhere in the core."""

    def below(kind: type) -> list[type[Record]]:
        return [found for direct in kind.__subclasses__() for found in (direct, *below(direct))]

    found = [
        kind for kind in below(Record) if kind not in (Message, Event) and kind.__module__.startswith("contracts.")
    ]
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


# --- values of any declared type ---


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Anything that a declared type admits; small, and often at its bounds."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return bounded(*get_args(annotation))
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(option) for option in get_args(annotation)))
    if annotation is types.NoneType:
        return st.none()
    if annotation is bool:
        return st.booleans()
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    if issubclass(annotation, bounds.Packed):
        return st.binary(min_size=annotation.SIZE, max_size=annotation.SIZE).map(
            lambda raw: annotation.of_bytes(bytes(byte & 0x7F for byte in raw))
        )
    hints = get_type_hints(annotation, include_extras=True)
    return st.builds(annotation, **{field.name: values(hints[field.name]) for field in fields(annotation)})


def bounded(kind: Any, bound: Any) -> st.SearchStrategy[Any]:
    if isinstance(bound, bounds.Range):
        return st.sampled_from([bound.low, bound.high]) | st.integers(bound.low, bound.high)
    if isinstance(bound, bounds.Length):
        return st.binary(min_size=bound.low, max_size=bound.high)
    if isinstance(bound, bounds.Text):
        return st.from_regex(bound.pattern, fullmatch=True).filter(lambda text: len(text) <= bound.longest)
    entry = values(get_args(kind)[0])
    return st.lists(entry, min_size=bound.low, max_size=min(bound.high, bound.low + 2)).map(tuple)


ANY_RECORD = st.sampled_from(records()).flatmap(values)
relaxed = settings(max_examples=60, deadline=None)


@relaxed
@given(ANY_RECORD)
def test_decoding_undoes_encoding_for_every_registered_record(record: Record) -> None:
    assert decode(type(record), encode(record), most=MOST) == record


@relaxed
@given(ANY_RECORD)
def test_an_independent_decoder_reads_the_same_fields(record: Record) -> None:
    plain = cbor2.loads(encode(record))
    assert sorted(plain) == sorted(field.name for field in fields(record))


@relaxed
@given(ANY_RECORD)
def test_keys_are_sorted_as_dag_cbor_asks(record: Record) -> None:
    """Shorter keys first, then by bytes: the order of RFC 7049's canonical form, which DAG-CBOR kept."""
    keys = list(cbor2.loads(encode(record)))
    assert keys == sorted(keys, key=lambda key: (len(key), key))


@relaxed
@given(ANY_RECORD, st.data())
def test_a_mutated_byte_is_refused_or_is_the_one_form_of_something_else(record: Record, data: st.DataObject) -> None:
    raw = bytearray(encode(record))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(type(record), bytes(raw), most=MOST)
    except Malformed:
        return
    assert encode(other) == raw
    assert other != record


@relaxed
@given(ANY_RECORD, st.data())
def test_what_is_cut_short_or_continued_is_refused(record: Record, data: st.DataObject) -> None:
    raw = encode(record)
    cut = data.draw(st.integers(0, len(raw) - 1))
    for other in (raw[:cut], raw + b"\0", raw + raw):
        with pytest.raises(Malformed):
            decode(type(record), other, most=MOST)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_are_their_own_canonical_form(raw: bytes) -> None:
    try:
        plain = codec.decode_plain(raw, most=MOST)
    except Malformed:
        return
    assert codec.encode_plain(plain) == raw


# --- forms that DAG-CBOR forbids ---


@pytest.mark.parametrize(
    "raw",
    [
        "1800",  # 0 with a byte it does not need
        "f97e00",  # a half-precision NaN
        "9f00ff",  # an indefinite list
        "bf6161 00ff",  # an indefinite map
        "a2616100616100",  # a key twice
        "a2616200616100",  # keys out of order
        "a2626161006162 00",  # longer key first
        "c100",  # a tag that is not 42
        "f7",  # undefined
        "62c328",  # invalid UTF-8
        "0000",  # trailing bytes
        "a10000",  # a key that is no text
        "5bffffffffffffffff",  # 2^64 - 1 bytes announced
        "9bffffffffffffffff",  # 2^64 - 1 entries announced
        "",
    ],
)
def test_a_form_that_dag_cbor_forbids_is_refused(raw: str) -> None:
    with pytest.raises(Malformed):
        codec.decode_plain(bytes.fromhex(raw), most=MOST)


def test_nesting_is_refused_by_type_however_deep_it_goes() -> None:
    deep = b"\x81" * 30_000 + b"\x00"
    with pytest.raises(Malformed, match="must be a map"):
        decode(Key, deep, most=MOST)


def test_as_many_bytes_as_allowed_are_read() -> None:
    assert decode(Key, encode(KEY), most=len(encode(KEY))) == KEY
    with pytest.raises(Malformed, match="are allowed"):
        decode(Key, encode(KEY), most=len(encode(KEY)) - 1)


def test_more_bytes_than_allowed_are_not_even_looked_at() -> None:
    with pytest.raises(Malformed, match="at most 3"):
        codec.decode_plain(b"\xff" * 4, most=3)


# --- fields ---


def plain_key(**changes: Any) -> dict[str, Any]:
    plain = {"organisation": "hospital-a", "purpose": "human", "label": "", "added_at": 3, "revoked_from": None}
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("plain", "field", "why"),
    [
        (plain_key(added_at=3.0), "added_at", "must be an integer"),
        (plain_key(added_at=True), "added_at", "must be an integer"),
        (plain_key(added_at=-1), "added_at", "must be between"),
        (plain_key(added_at=2**62 + 1), "added_at", "must be between"),
        (plain_key(organisation="Hospital A"), "organisation", "must match"),
        (plain_key(organisation="h" * 41), "organisation", "at most 40"),
        (plain_key(organisation="hôpital"), "organisation", "must match"),
        (plain_key(organisation="a/b"), "organisation", "must match"),
        (plain_key(organisation=b"hospital-a"), "organisation", "must be text"),
        (plain_key(purpose="robot"), "purpose", "must be one of human, workload"),
        (plain_key(purpose=None), "purpose", "must be one of"),
        (plain_key(revoked_from="never"), "revoked_from", "must be an integer"),
        (plain_key(label=cbrrr.CID(b"\x01\x55\x12\x20" + bytes(32))), "label", "must be text"),
        (plain_key(extra=1), "*", "unknown field"),
        ({"organisation": "hospital-a"}, "added_at", "is missing"),
        ([1, 2], "", "must be a map of Key"),
    ],
)
def test_a_field_out_of_its_declaration_is_refused_by_name(plain: Any, field: str, why: str) -> None:
    with pytest.raises(Malformed) as error:
        decode(Key, cbrrr.encode_dag_cbor(plain), most=MOST)
    assert error.value.field == field
    assert why in error.value.why


def test_nested_fields_are_named_by_their_way() -> None:
    raw = encode(TERMS).replace(b"hospital-c", b"Hospital-c", 1)
    with pytest.raises(Malformed) as error:
        decode(Terms, raw, most=MOST)
    assert error.value.field == "verifiers[2]"


def test_what_breaks_its_bounds_cannot_be_encoded_either() -> None:
    for value in (3.0, True, -1, None):
        with pytest.raises(Malformed) as error:
            encode(Key("hospital-a", Purpose.HUMAN, "", value, None))
        assert error.value.field == "added_at"
    with pytest.raises(Malformed, match="must be one of human, workload"):
        encode(Key("hospital-a", "human", "", 3, None))
    with pytest.raises(Malformed, match="must be bool"):
        encode(Vote(1, approve=1))
    with pytest.raises(Malformed, match="must be bool"):
        decode(Vote, cbrrr.encode_dag_cbor({"proposal": 1, "approve": 1}), most=MOST)
    with pytest.raises(Malformed, match="must be a Key"):
        shape_of(Key).pack(TERMS, "")
    with pytest.raises(Malformed, match="must be a list"):
        shape_of(Annotated[tuple[Role, ...], bounds.Items(0, 2)]).pack([Role.AUDITOR], "roles")


def test_a_packed_value_is_bytes_of_one_length_and_only_such_as_stand_for_one() -> None:
    price = renyi.gaussian_curve(1_000, 1)
    packed = shape_of(renyi.Curve)
    assert packed.pack(price, "") == bytes(price)
    assert packed.unpack(bytes(price), "") == price
    with pytest.raises(Malformed, match="price: must be a Curve"):
        packed.pack(bytes(price), "price")
    for raw in (bytes(price)[1:], bytes(price) + b"0", price.costs(), b"\x80" + bytes(price)[1:]):
        with pytest.raises(Malformed, match="price: "):
            packed.unpack(raw, "price")


def test_a_choice_is_written_with_its_kind_and_read_only_with_a_known_one() -> None:
    plain = {"action": {"kind": "open-task", "value": shape_of(Terms).pack(TERMS, "")}}
    plain["action"]["value"] = {"terms": plain["action"]["value"]}
    assert decode(Propose, cbrrr.encode_dag_cbor(plain), most=MOST).action.terms == TERMS
    for kind in ("mint-tokens", 7, None):
        with pytest.raises(Malformed) as error:
            decode(Propose, cbrrr.encode_dag_cbor({"action": {"kind": kind, "value": {}}}), most=MOST)
        assert error.value.field == "action.kind"
    with pytest.raises(Malformed, match="a map of kind and value"):
        decode(Propose, cbrrr.encode_dag_cbor({"action": {"kind": "open-task"}}), most=MOST)
    with pytest.raises(Malformed, match="must be one of"):
        encode(Propose(KEY))


@pytest.mark.parametrize(
    "annotation",
    [
        int,
        str,
        bytes,
        float,
        dict,
        tuple[int, ...],
        Annotated[int, "no bound"],
        Annotated[bytes, TEXT],
        Annotated[str, RANGE],
        object,
    ],
)
def test_a_type_without_bounds_cannot_be_part_of_a_record(annotation: Any) -> None:
    with pytest.raises(TypeError):
        shape_of(annotation)


@pytest.mark.parametrize(("name", "tag"), [("AddKey", "add-key"), ("Key", "key"), ("Reserve", "reserve")])
def test_names_on_the_wire_are_kebab_case(name: str, tag: str) -> None:
    assert kebab(name) == tag


def test_every_message_fits_a_transaction_at_its_largest_text_fields() -> None:
    key = NewKey(bytes(32), Purpose.WORKLOAD, "x" * limits.LABEL_CHARS, bytes(64))
    assert len(encode(AddKey(key))) < limits.TX_BYTES
    assert len(encode(Propose(OpenTask(TERMS)))) < limits.TX_BYTES


def test_a_record_of_another_type_with_the_same_fields_is_another_type() -> None:
    with pytest.raises(Malformed):
        decode(Seat, encode(KEY), most=MOST)


def test_packed_data_is_the_caller_s_own() -> None:
    """A record keeps its plain data to be encoded again; whoever changes a copy must not change the record."""
    before = encode(TERMS)
    plain = shape_of(Terms).pack(TERMS, "")
    plain["mechanism"]["clip_milli"] += 1
    plain["verifiers"].clear()
    assert encode(TERMS) == before
    assert shape_of(Terms).pack(TERMS, "") != plain


def test_a_fault_deep_in_a_record_is_named_by_its_whole_path() -> None:
    plain = {"action": {"kind": "open-task", "value": shape_of(Terms).pack(TERMS, "")}}
    plain["action"]["value"] = {"terms": plain["action"]["value"] | {"verifiers": ["lab", "NO SLUG", "auditor"]}}
    with pytest.raises(Malformed) as refused:
        shape_of(Propose).unpack(plain, "")
    assert refused.value.field == "action.open-task.terms.verifiers[1]"


# Fields that came later -------------------------------------------------------------------------


class First(Record):
    """As version 1 had it."""

    count: Annotated[int, RANGE]


class Later(Record):
    """The same with what came since."""

    count: Annotated[int, RANGE]
    word: Annotated[str, TEXT] = codec.since(2, default="")
    flag: bool = codec.since(3, default=False)


class Around(Record):
    """Records in records, in lists and in choices."""

    one: Later
    many: Annotated[tuple[Later, ...], bounds.Items(0, 3)]
    maybe: Later | None


def test_a_record_that_does_not_use_a_later_field_has_the_bytes_that_it_always_had() -> None:
    assert encode(Later(3)) == encode(First(3))
    assert decode(Later, encode(First(3)), most=MOST) == Later(3, "", False)


def test_a_later_field_comes_and_goes_and_each_record_has_one_form() -> None:
    for record in (Later(3), Later(3, "a"), Later(3, flag=True), Later(3, "aa", True)):
        assert decode(Later, encode(record), most=MOST) == record
    assert cbrrr.decode_dag_cbor(encode(Later(3, "a"))) == {"count": 3, "word": "a"}


@pytest.mark.parametrize("plain", [{"count": 3, "word": ""}, {"count": 3, "flag": False}])
def test_a_default_that_is_written_is_refused(plain: dict[str, Any]) -> None:
    """Otherwise a record would have two forms."""
    with pytest.raises(Malformed, match="is left out where it has its default"):
        decode(Later, cbrrr.encode_dag_cbor(plain), most=MOST)


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        ({"word": "a"}, "count: is missing"),
        ({"count": 3, "other": 1}, "unknown field"),
        ({"count": 3, "word": "b"}, "word: must match"),
    ],
)
def test_a_later_field_excuses_nothing_else(plain: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=re.escape(why)):
        decode(Later, cbrrr.encode_dag_cbor(plain), most=MOST)


def test_under_rules_without_it_a_field_does_not_exist_however_deep_it_is() -> None:
    plain = {"one": {"count": 1}, "many": [{"count": 2}], "maybe": None}
    assert shape_of(Around, 1).unpack(plain, "") == Around(Later(1), (Later(2),), None)
    for changed in (
        {**plain, "one": {"count": 1, "word": "a"}},
        {**plain, "many": [{"count": 2, "word": "a"}]},
        {**plain, "maybe": {"count": 2, "word": "a"}},
    ):
        shape_of(Around, 2).unpack(changed, "")
        shape_of(Around).unpack(changed, "")
        with pytest.raises(Malformed, match="unknown field"):
            shape_of(Around, 1).unpack(changed, "")


def test_a_field_is_there_from_its_own_version_on() -> None:
    plain = {"count": 3, "flag": True}
    assert shape_of(Later, 3).unpack(plain, "") == Later(3, "", True)
    with pytest.raises(Malformed, match="unknown field"):
        shape_of(Later, 2).unpack(plain, "")
    assert codec.since_of(Later) == {"word": 2, "flag": 3}


# --- the library ---


def test_the_self_test_holds_the_library_to_both_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    codec.self_test()
    lax = lambda raw: cbor2.loads(raw) if raw else None  # noqa: E731 - what a careless library does.
    monkeypatch.setattr(codec.cbrrr, "decode_dag_cbor", lax)
    with pytest.raises(SelfTestFailed, match="must be refused"):
        codec.self_test()


def test_the_self_test_notices_another_way_of_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec.cbrrr, "encode_dag_cbor", cbor2.dumps)  # It sorts no keys.
    with pytest.raises(SelfTestFailed, match="written as"):
        codec.self_test()


@pytest.mark.parametrize(("raw", "sin"), NOT_CANONICAL, ids=[raw.hex() for raw, _ in NOT_CANONICAL])
def test_what_a_lax_decoder_takes_is_refused(raw: bytes, sin: str) -> None:
    with pytest.raises(Malformed) as refused:
        codec.decode_plain(raw, most=100)
    assert refused.value.fault is codec.Fault.ENCODING, sin


@pytest.mark.parametrize(("raw", "value"), CANONICAL, ids=[raw.hex() for raw, _ in CANONICAL])
def test_an_independent_library_reads_the_same(raw: bytes, value: Any) -> None:
    assert cbor2.loads(raw) == value
