"""``import fedledger as fl``: light, lazy, and exactly the names that it promises."""

import subprocess
import sys

import pytest

import fedledger as fl


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after some code."""
    printed = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", printed], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_facade_loads_nothing_of_weight() -> None:
    modules = loaded_by("import fedledger")
    heavy = {"numpy", "torch", "aiohttp", "asyncio", "nacl", "safetensors", "pyrage", "typer", "rich"}
    assert not modules & heavy
    assert not [name for name in modules if name.split(".")[0] in ("client_sdk", "contracts", "learning", "services")]


def test_connecting_needs_no_torch_and_opens_no_socket_library_before_the_first_call() -> None:
    modules = loaded_by("import fedledger as fl; fl.connect; fl.Trainer")
    assert "numpy" in modules
    assert not modules & {"torch", "aiohttp"}


def test_no_name_of_the_facade_needs_the_command_line_or_the_devnet() -> None:
    modules = loaded_by("import fedledger as fl\nfor name in fl.__all__: getattr(fl, name)")
    packages = {name.partition(".")[0] for name in modules}
    assert "client_sdk" in packages
    assert not packages & {"cli", "devnet", "services", "abci_app", "typer", "rich", "click"}


@pytest.mark.parametrize("name", fl.__all__)
def test_every_name_it_promises_is_there_and_always_the_same(name: str) -> None:
    assert getattr(fl, name) is getattr(fl, name)


def test_it_promises_what_it_has_and_has_what_it_promises() -> None:
    named = [name for names in fl._HOMES.values() for name in names]
    assert sorted(fl.__all__) == sorted(named)
    assert len(named) == len(set(named)), "two modules claim one name"


def test_an_unknown_name_is_refused_and_the_names_there_are_can_be_listed() -> None:
    with pytest.raises(AttributeError, match="no 'Trainr'") as refused:
        _ = fl.Trainr
    assert "Trainer" in dir(refused.value.obj), "Python asks whether it was meant"


def test_the_names_lead_to_the_public_sdk() -> None:
    from client_sdk.session.blocking import Ledger, connect
    from client_sdk.training.trainer import Trainer
    from contracts.kernel import Rejected

    assert (fl.Ledger, fl.connect, fl.Trainer, fl.Rejected) == (Ledger, connect, Trainer, Rejected)
