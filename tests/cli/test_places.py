"""Where a ledger is and who acts there: devnets that do not run, members that are none, nodes that are down."""

from dataclasses import replace

import pytest

from cli import checks
from client_sdk.payloads.store import StoreKind
from client_sdk.secrets import age_passphrase
from client_sdk.secrets.keys import keyring_path
from client_sdk.session.profile import Profile, load_profile, write_profile
from devnet.foundation import genesis_facts, prepare
from devnet.layout import Layout
from tests.devnet.networks import one_validator


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """A devnet that was made and is not running: its members' profiles lead to a closed port."""
    home = Layout(tmp_path_factory.mktemp("devnet") / "devnet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(age_passphrase, "WORK_FACTOR", 10)
        prepare(home, one_validator())
    chain_id, genesis_sha256 = genesis_facts(home)
    for name in ("lab-1", "hospital-a"):
        profile = Profile(
            organisation=name,
            chain_id=chain_id,
            genesis=home.genesis,
            genesis_sha256=genesis_sha256,
            rpc=("http://127.0.0.1:1",),
            store=StoreKind.LOCAL,
            store_address=str(home.blocks),
            keyring=keyring_path(home.member(name), name),
            passphrase=home.passphrase,
        )
        write_profile(home.profile(name), profile)
    return home


@pytest.fixture
def ledger(layout):
    return ("--ledger", str(layout.home))


def test_a_node_that_is_down_is_no_access_and_says_where_to_look(run, ledger):
    for command in (("org", "show"), ("budget", "show"), ("task", "show", "t"), ("tx", "show", "ab" * 32)):
        ran = run(*command, *ledger)
        assert ran.status == 2
        assert "NODE_UNAVAILABLE" in ran.err
        assert "127.0.0.1:1" in ran.err
        assert "fedledger doctor" in ran.err
    registering = ("dataset", "register", "d", "--class", "x", "--epsilon-limit", "1", "--as", "hospital-a", *ledger)
    assert run(*registering).status == 2


def test_no_devnet_at_all_says_how_to_start_one(run):
    for command in (("org", "show"), ("devnet", "status"), ("devnet", "kill", "validator-1"), ("devnet", "down")):
        ran = run(*command)
        assert ran.status == 2
        assert "NO_DEVNET" in ran.err
        assert "fedledger devnet up" in ran.err


def test_an_organisation_that_keeps_no_keys_here_is_named_with_those_that_do(run, ledger):
    ran = run("key", "show", "--as", "hospital-x", *ledger)
    assert ran.status == 4
    assert "UNKNOWN_MEMBER" in ran.err
    assert "hospital-a, lab-1" in ran.err
    assert "fedledger key create hospital-x" in ran.err


def test_a_devnet_must_be_told_who_acts(run, ledger):
    ran = run("key", "show", *ledger)
    assert ran.status == 4
    assert "--as ORG/KEY" in ran.err


def test_the_environment_stands_for_the_options(run, layout, monkeypatch):
    monkeypatch.setenv("FEDLEDGER_LEDGER", str(layout.home))
    monkeypatch.setenv("FEDLEDGER_AS", "lab-1/human")
    assert run("key", "show").status == 0
    assert run("key", "show", "--as", "nobody").status == 4, "an option wins over the environment"


def test_a_newcomers_keys_are_made_beside_the_members_and_open_with_the_devnets_passphrase(
    run, ledger, layout, monkeypatch
):
    monkeypatch.setattr(age_passphrase, "WORK_FACTOR", 10)
    made = run("key", "create", "hospital-g", *ledger, "--format", "json").data
    assert [key["name"] for key in made["keys"]] == ["human", "worker", "encryption"]
    assert run("key", "show", "--as", "hospital-g", *ledger).status == 0
    application = layout.home / "application"
    options = ("--roles", "data-owner", "--legal-id", "HRB-1", "--epsilon-cap", "2", "--write", application)
    assert run("org", "enrol", "hospital-g", *options, *ledger).status == 0
    assert application.stat().st_size > 100


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_keyring_that_others_may_read_is_refused_with_the_command_that_helps(run, layout, ledger, mode):
    path = keyring_path(layout.member("hospital-a"), "hospital-a")
    path.chmod(mode)
    try:
        ran = run("key", "show", "--as", "hospital-a", *ledger)
        assert ran.status == 2
        assert f"chmod 600 {path}" in ran.err
        looked = run("doctor", "--as", "hospital-a", *ledger)
        assert f"chmod 600 {path}" in looked.out
    finally:
        path.chmod(0o600)


def test_a_key_that_is_not_in_the_keyring_is_named_with_those_that_are(run, ledger):
    ran = run("dataset", "register", "d", "--class", "x", "--epsilon-limit", "1", "--as", "lab-1/nokey", *ledger)
    assert ran.status == 2
    assert "KEY_NOT_FOUND" in ran.err
    assert "human, worker, encryption" in ran.err


def test_another_genesis_is_not_trusted(run, layout, tmp_path):
    profile = replace(load_profile(layout.profile("lab-1")), genesis_sha256="00" * 32)
    path = tmp_path / "profile.toml"
    write_profile(path, profile)
    ran = run("org", "show", "--ledger", path)
    assert ran.status == 2
    assert "WRONG_GENESIS" in ran.err
    looked = run("doctor", "--ledger", path, "--format", "json").data
    (genesis,) = [check for check in looked["checks"] if check["subject"] == "genesis"]
    assert genesis["verdict"] == "fail"


def test_a_profile_that_is_none_is_told(run, tmp_path):
    path = tmp_path / "profile.toml"
    path.write_text("organisation = 3\n")
    ran = run("org", "show", "--ledger", path)
    assert ran.status == 2
    assert "PROFILE_INVALID" in ran.err


def test_a_process_that_is_none_is_named_with_those_that_are(run, layout):
    ran = run("devnet", "logs", "validator-9", "--home", layout.home)
    assert ran.status == 2, "this devnet was never started"
    assert "NO_DEVNET" in ran.err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("up", "--store", "s3"), "--store"),
        (("up", "--timeouts", "slow"), "--timeouts"),
        (("kill", "validator-1", "--signal", "LOUD"), "--signal"),
        (("logs", "validator-1", "--follow", "--format", "json"), "jsonl"),
    ],
)
def test_a_wrong_choice_is_refused_by_its_option(run, arguments, option):
    ran = run("devnet", *arguments)
    assert ran.status == 4
    assert option in ran.out + ran.err


def test_the_doctor_finds_a_node_that_is_down_and_is_unwell(run, ledger):
    ran = run("doctor", *ledger, "--as", "lab-1")
    assert ran.status == 1
    data = run("doctor", *ledger, "--as", "lab-1", "--format", "json").data
    assert data["healthy"] is False
    verdicts = {check["subject"]: check["verdict"] for check in data["checks"]}
    assert (verdicts["profile"], verdicts["genesis"], verdicts["keyring"]) == ("ok", "ok", "ok")
    assert (verdicts["node"], verdicts["chain"], verdicts["devnet"]) == ("fail", "fail", "fail")
    for check in data["checks"]:
        assert check["verdict"] == "ok" or check["remedy"], "what is not well comes with what to do"


def test_the_doctor_ends_with_the_profile_when_there_is_none(run):
    data = run("doctor", "--format", "json").data
    assert data["checks"][-1]["subject"] == "profile"
    assert "fedledger devnet up" in data["checks"][-1]["remedy"]


@pytest.mark.parametrize(("seconds", "verdict"), [(1, "ok"), (-1, "ok"), (600, "warn"), (-600, "warn")])
def test_a_clock_far_from_the_chains_is_a_warning(monkeypatch, seconds, verdict):
    monkeypatch.setattr(checks.time, "time", lambda: 1_700_000_000 + seconds)
    assert checks._clock(1_700_000_000 * 10**9).verdict == verdict
