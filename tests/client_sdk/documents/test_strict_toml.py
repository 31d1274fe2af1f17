"""Files of settings that somebody else wrote: bounded, and refused in words. What the fuzzer found stays found."""

import pytest

from campaigns.harness.work import lines_of
from client_sdk.documents.strict_toml import BYTES_MAX, LINE_CHARS_MAX, TomlInvalid, parse
from client_sdk.session.profile import ProfileInvalid, load_profile
from client_sdk.training import terms_file
from client_sdk.training.terms_file import TermsFileInvalid
from devnet.errors import ManifestInvalid
from devnet.manifest import parse_manifest

DEEP = b"x = " + b"[" * 1_500 + b"]" * 500
DOTTED = b"a." * 30_000 + b"b = 1"  # 60 kB that the standard library reads for eight seconds.
DIGITS = b"\n".join((b"x = 1" + b"0" * 1_000, b"y = ["))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\xff", "not UTF-8"),
        (b"= 3", "not TOML"),
        (DIGITS, "not TOML"),
        (DEEP, "nested too deeply"),
        (DOTTED, f"more than {LINE_CHARS_MAX} characters"),
        (b"#\n" * BYTES_MAX, f"more than {BYTES_MAX} bytes"),
    ],
    ids=["bytes", "syntax", "digits", "deep", "dotted", "large"],
)
def test_what_cannot_be_read_in_bounds_is_refused_in_words(raw: bytes, why: str) -> None:
    with pytest.raises(TomlInvalid, match=why):
        parse(raw)


def test_the_longest_dotted_keys_that_fit_are_read_in_work_that_grows_with_the_document() -> None:
    """Twice the lines are twice the work. What grows with the square is bounded by the length of a line."""
    line = "a." * (LINE_CHARS_MAX // 2 - 16)
    lines = [f"{line}b{number} = 1" for number in range(BYTES_MAX // LINE_CHARS_MAX - 1)]

    def work(count: int) -> int:
        return lines_of(lambda: parse("\n".join(lines[:count])), most=10**7)

    assert work(len(lines)) <= len(lines) * work(1)


@pytest.mark.parametrize("raw", [DEEP, DOTTED], ids=["deep", "dotted"])
def test_terms_manifests_and_profiles_are_refused_by_their_name(raw: bytes, tmp_path) -> None:
    with pytest.raises(TermsFileInvalid, match=r"^my\.toml "):
        terms_file.parse(raw, "my.toml")
    with pytest.raises(ManifestInvalid, match=r"my\.toml"):
        parse_manifest(raw, "my.toml")
    path = tmp_path / "profile.toml"
    path.write_bytes(raw)
    with pytest.raises(ProfileInvalid, match=r"profile\.toml"):
        load_profile(path)
