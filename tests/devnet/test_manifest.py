"""Manifests: the standard one, and every way to get one wrong."""

from pathlib import Path

import pytest

from client_sdk.payloads.store import StoreKind
from contracts.kernel.types import Role
from devnet.errors import ManifestInvalid
from devnet.layout import shipped_manifest
from devnet.manifest import Timeouts, load_manifest, manifest_text, parse_manifest
from tests.devnet.networks import ONE_VALIDATOR, STAND_BY, one_validator, standard, with_stand_by


def test_the_standard_devnet_is_the_consortium_of_the_demo():
    manifest = load_manifest(shipped_manifest())
    assert [member.name for member in manifest.founders] == ["hospital-a", "hospital-b", "lab-1", "lab-2"]
    assert manifest.operators == ("hospital-a", "hospital-b", "lab-1", "lab-2")
    assert manifest.validators == ("validator-1", "validator-2", "validator-3", "validator-4")
    assert manifest.kubo_nodes == ("kubo-1", "kubo-2")
    roles = {member.name: set(member.roles) for member in manifest.organisations}
    owners = [name for name, held in roles.items() if Role.DATA_OWNER in held]
    assert owners == [f"hospital-{letter}" for letter in "abcdef"]
    assert roles["lab-1"] == roles["lab-2"] == {Role.AGGREGATOR, Role.VERIFIER, Role.OPERATOR}
    assert roles["auditor"] == {Role.AUDITOR, Role.VERIFIER}


@pytest.mark.parametrize("manifest", [one_validator(), with_stand_by(), standard(), standard(store=StoreKind.KUBO)])
def test_a_manifest_that_was_written_reads_back_the_same(manifest):
    assert parse_manifest(manifest_text(manifest), "written") == manifest


def test_a_variation_changes_what_it_names_and_nothing_else():
    manifest = load_manifest(shipped_manifest())
    local = manifest.varied(store=StoreKind.LOCAL)
    assert (local.store, local.kubo_nodes, local.timeouts) == (StoreKind.LOCAL, (), manifest.timeouts)
    assert manifest.varied(timeouts=Timeouts.FAST).kubo_count == manifest.kubo_count
    assert local.varied(store=StoreKind.KUBO) == manifest
    assert manifest.varied() == manifest


def test_epsilon_is_read_exactly():
    text = ONE_VALIDATOR.replace("epsilon_cap = 2.5", "epsilon_cap = 0.123456789")
    assert parse_manifest(text, "x").organisations[1].epsilon_cap_nano == 123_456_789


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('name = "one"\n', "", "chain.name"),
        ('name = "one"', 'name = "One"', "chain.name"),
        ('name = "one"', f'name = "{"x" * 42}"', "chain.name"),
        ('timeouts = "fast"', 'timeouts = "slow"', "chain.timeouts"),
        ('application = "fedledger"', "application = 3", "chain.application"),
        ("[storage]", "[[storage]]", "storage"),
        ('kind = "local"', 'kind = "local"\nnodes = 2', "storage.nodes"),
        ('kind = "local"', 'kind = "kubo"', "storage.nodes"),
        ('kind = "local"', 'kind = "kubo"\nnodes = 0', "storage.nodes"),
        ('kind = "local"', 'kind = "kubo"\nnodes = true', "storage.nodes"),
        ('operator = "lab-1"', 'operator = "lab-9"', "validator[1].operator"),
        ('operator = "lab-1"', 'operator = "hospital-a"', "validator[1].operator"),
        (
            "genesis = true",
            'genesis = true\n[[validator]]\noperator = "lab-1"\ngenesis = true',
            "validator[2].operator",
        ),
        ("genesis = true", "", "validator[1].genesis"),
        ("genesis = true", "genesis = 1", "validator[1].genesis"),
        ('operator = "lab-1"', 'operator = "lab-1"\npower = 3', "validator[1].power"),
        ("[[validator]]", "[[validators]]", "validator"),
        ('["data-owner"]', '["owner"]', "organisation[2].roles"),
        ('["data-owner"]', "[]", "organisation[2].roles"),
        ('["data-owner"]', '["data-owner", "data-owner"]', "organisation[2].roles"),
        ('["data-owner"]', "[[1]]", "organisation[2].roles"),
        ("epsilon_cap = 2.5", "epsilon_cap = 100.1", "organisation[2].epsilon_cap"),
        ("epsilon_cap = 2.5", "epsilon_cap = -1", "organisation[2].epsilon_cap"),
        ("epsilon_cap = 2.5", "epsilon_cap = nan", "organisation[2].epsilon_cap"),
        ("epsilon_cap = 2.5", "epsilon_cap = inf", "organisation[2].epsilon_cap"),
        ("epsilon_cap = 2.5", "epsilon_cap = 1e-10", "organisation[2].epsilon_cap"),
        ("epsilon_cap = 2.5", "epsilon_cap = 1e999999999", "organisation[2].epsilon_cap"),
        ("founder = false", 'founder = "no"', "organisation[2].founder"),
        ('name = "hospital-a"', 'name = "lab-1"', "organisation"),
        ("[chain]", 'motto = "x"\n[chain]', "motto"),
        ("[chain]", "[chain", "the file"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name_and_file(old, new, field):
    assert old in ONE_VALIDATOR
    with pytest.raises(ManifestInvalid) as refusal:
        parse_manifest(ONE_VALIDATOR.replace(old, new, 1), "mine.toml")
    assert (refusal.value.field, refusal.value.source) == (field, "mine.toml")
    assert str(refusal.value).startswith(f"mine.toml: {field}: ")
    assert "mine.toml" in refusal.value.hint


def test_a_validator_needs_a_founder_with_the_role_of_an_operator():
    for old, new, why in (
        (', "operator"', "", "must have the role 'operator'"),
        ("founder = true", "founder = false", "must be a founder"),
    ):
        with pytest.raises(ManifestInvalid, match=why):
            parse_manifest(ONE_VALIDATOR.replace(old, new, 1), "x")


def test_a_stand_by_s_operator_may_be_admitted_later_and_needs_the_role_all_the_same():
    manifest = with_stand_by()
    assert (manifest.operators, manifest.stand_by) == (("lab-1", "lab-2"), ("lab-2",))
    assert manifest.validators == ("validator-1", "validator-2")
    with pytest.raises(ManifestInvalid, match="must have the role 'operator'") as refusal:
        parse_manifest(STAND_BY.replace('roles = ["operator"]', 'roles = ["auditor"]'), "x")
    assert refusal.value.field == "validator[2].operator"


def test_somebody_decides_the_first_block():
    with pytest.raises(ManifestInvalid, match="none of them is in the genesis"):
        parse_manifest(ONE_VALIDATOR.replace("genesis = true", "genesis = false"), "x")


@pytest.mark.parametrize(
    ("content", "why"), [(b"\xff", "not UTF-8"), (b"#" * 300_000, "more than"), (None, "cannot be read")]
)
def test_a_file_that_is_no_manifest_is_refused_by_its_path(tmp_path: Path, content, why):
    path = tmp_path / "devnet.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestInvalid, match=why) as refusal:
        load_manifest(path)
    assert refusal.value.source == str(path)
