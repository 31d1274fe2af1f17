"""What DAG-CBOR is here, as cases: what a value is written as, and bytes that a lax decoder would take.

Two nodes with libraries of other opinions would fork, so a node holds its own to these before it starts
(``codec.self_test``), as it does with Ed25519 (``speccheck``). The cases are of RFC 8949 (section 4.2.1, appendix A)
and of the DAG-CBOR specification (ipld.io, "Strictness").
"""

from typing import Any, Final


def _case(raw: str, value: Any) -> tuple[bytes, Any]:
    return bytes.fromhex(raw), value


CANONICAL: Final = (
    _case("00", 0),
    _case("17", 23),
    _case("1818", 24),
    _case("18ff", 255),
    _case("190100", 256),
    _case("1a00010000", 65_536),
    _case("1b0000000100000000", 2**32),
    _case("1b4000000000000000", 2**62),
    _case("1b7fffffffffffffff", 2**63 - 1),
    _case("20", -1),
    _case("3b7fffffffffffffff", -(2**63)),
    _case("f4", False),
    _case("f5", True),
    _case("f6", None),
    _case("40", b""),
    _case("4401020304", bytes((1, 2, 3, 4))),
    _case("60", ""),
    _case("6161", "a"),
    _case("62c3bc", "\u00fc"),
    _case("80", []),
    _case("8301820203820405", [1, [2, 3], [4, 5]]),
    _case("a0", {}),
    _case("a361610161620262616103", {"aa": 3, "b": 2, "a": 1}),  # By length, then by bytes.
)

NOT_CANONICAL: Final = tuple(
    (bytes.fromhex(raw), sin)
    for raw, sin in (
        ("", "nothing"),
        ("1817", "a number in more bytes than it needs"),
        ("1900ff", "a number in more bytes than it needs"),
        ("1a0000ffff", "a number in more bytes than it needs"),
        ("1b00000000ffffffff", "a number in more bytes than it needs"),
        ("580161", "a length in more bytes than it needs"),
        ("780161", "a length in more bytes than it needs"),
        ("5f4101ff", "a byte string of indefinite length"),
        ("7f6161ff", "a text of indefinite length"),
        ("9f01ff", "a list of indefinite length"),
        ("bf616101ff", "a map of indefinite length"),
        ("a2616201616102", "keys out of order"),
        ("a262616101616202", "keys out of order: the shorter comes first"),
        ("a2616101616102", "a key twice"),
        ("a10102", "a key that is no text"),
        ("a1410102", "a key that is no text"),
        ("61ff", "text that is no UTF-8"),
        ("63eda080", "text with a surrogate"),
        ("6261", "text that is cut short"),
        ("4201", "bytes that are cut short"),
        ("8201", "a list that is cut short"),
        ("a16161", "a map that is cut short"),
        ("0000", "a byte too many"),
        ("f7", "undefined"),
        ("e0", "an unassigned simple value"),
        ("f8ff", "an unassigned simple value"),
        ("f97e00", "a half-precision number that is none"),
        ("fb7ff8000000000000", "a number that is none"),
        ("fb7ff0000000000000", "infinity"),
        ("f93c00", "a float in fewer bytes than the only form has"),
        ("fa3f800000", "a float in fewer bytes than the only form has"),
        ("c000", "a tag"),
        ("c249010000000000000000", "a big number"),
        ("d82a4101", "a link without its prefix"),
        ("ff", "an end without a beginning"),
    )
)
