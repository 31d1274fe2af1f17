"""A stamp vouches for a result only as long as its inputs and its products are there."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.setup.stamps import Stamp, fingerprint


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_fingerprints_are_equal_only_for_equal_parts(one: list[bytes], other: list[bytes]) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


def test_a_stamp_stands_once_written(tmp_path: Path) -> None:
    product = tmp_path / "bin" / "node"
    product.parent.mkdir()
    product.touch()
    stamp = Stamp(tmp_path / "stamp", fingerprint(["a"]), (product,))
    assert not stamp.stands()
    stamp.write()
    assert stamp.stands()


def test_a_stamp_falls_with_other_inputs(tmp_path: Path) -> None:
    Stamp(tmp_path / "stamp", fingerprint(["a"]), ()).write()
    assert not Stamp(tmp_path / "stamp", fingerprint(["b"]), ()).stands()


def test_a_stamp_falls_with_its_product(tmp_path: Path) -> None:
    product = tmp_path / "node"
    product.touch()
    stamp = Stamp(tmp_path / "stamp", fingerprint(["a"]), (product,))
    stamp.write()
    product.unlink()
    assert not stamp.stands()


def test_a_link_to_a_binary_that_is_gone_is_no_product(tmp_path: Path) -> None:
    link = tmp_path / "node"
    link.symlink_to(tmp_path / "gone")
    (tmp_path / "stamp").write_text("key")
    assert not Stamp(tmp_path / "stamp", "key", (link,)).stands()


def test_no_stamp_is_written_for_a_product_that_was_not_made(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "stamp", "key", (tmp_path / "node",))
    with pytest.raises(FileNotFoundError, match="without making"):
        stamp.write()
    assert not stamp.path.exists()


def test_a_withdrawn_stamp_no_longer_stands(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "stamp", "key", ())
    stamp.write()
    stamp.withdraw()
    stamp.withdraw()
    assert not stamp.stands()
