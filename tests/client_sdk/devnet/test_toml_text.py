"""What is written as TOML, read back by the standard library."""

import tomllib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.devnet.toml_text import render

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = TEXT | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.decimals(-(10**9), 10**9, places=9)
TABLES = st.dictionaries(TEXT, SCALARS | st.lists(TEXT, max_size=3), max_size=4)


@given(
    st.dictionaries(TEXT, SCALARS | TABLES | st.lists(TABLES, min_size=1, max_size=3), max_size=5),
    st.text(st.characters(exclude_categories=["C"])),
)
def test_what_is_written_reads_back_the_same_whatever_the_comment(document, comment):
    assert tomllib.loads(render(document, comment), parse_float=Decimal) == document


def test_a_value_that_toml_has_no_word_for_is_refused():
    with pytest.raises(TypeError, match="NoneType"):
        render({"key": None})
