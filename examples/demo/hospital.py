"""One hospital's training process: the public SDK, and nothing else.

Run by the demo for each hospital: ``python -m examples.demo.hospital --help``. Everything it says is one JSON object a
line. ``--drop``, ``--boost``, ``--copy``, ``--selective`` and ``--backdoor`` make it misbehave in the named rounds, so
that one can see what the ledger does then.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

import fedledger as fl
from client_sdk.training.journal import Journal
from client_sdk.training.participant import Tamper
from contracts.identity import KeyIsRevoked
from contracts.privacy_budget import BudgetExceeded
from examples.demo.mischief import Selective, commit_copied
from learning import fixed
from learning.feed_forward import FeedForward
from learning.tensors import Int32, Records

BOOST = -4.0  # A sign-flipped update, boosted as far as the norm bound lets it.


def main() -> int:
    """Take part until the task is finished, the budget is spent or the key is revoked."""
    options = _parser().parse_args()
    records = safetensors.numpy.load_file(options.records)
    with fl.connect(options.home, key=f"{options.organisation}/{options.key}") as ledger:
        if options.apart:
            ledger.session = replace(ledger.session, journal=Journal(options.apart))
        task = ledger.task(options.task)
        model, loss = _model(task.inputs.widths)
        trainer = fl.Trainer(model, loss, (records["inputs"], records["targets"]), inputs=task.inputs)
        say("ready", quote=str(ledger.quote(task, options.dataset)))
        for rnd in ledger.rounds(task, options.dataset):
            try:
                if rnd.number in options.drop:
                    rnd.reserve()
                    say("dropped", round=rnd.number)
                    continue
                if rnd.number in options.copy:
                    rnd.reserve()
                    copying = commit_copied(ledger.client, task, rnd.number, options.organisation)
                    say("copied", round=rnd.number, text=ledger.run(copying))
                    continue
                tamper = _tamper(options, rnd.number, ledger, task, records["inputs"])
                if rnd.number in options.selective:
                    made = ledger.run(_selective(ledger, options.dataset, task).contribute(rnd.number, trainer))
                else:
                    made = rnd.contribute(trainer, tamper=tamper)
            except (fl.RoundCameToNothing, fl.CommitMissed) as error:
                say("came to nothing", round=rnd.number, text=str(error))
                continue
            except fl.Rejected as refusal:
                say("refused", round=rnd.number, code=refusal.code, name=refusal.name, facts=_plain(refusal.facts))
                if isinstance(refusal, BudgetExceeded | KeyIsRevoked):
                    return 0
                continue
            say("contributed", round=rnd.number, height=made.height, spent=made.spent, bytes=made.bytes)
    return 0


def _selective(ledger: fl.Ledger, dataset: str, task: fl.TaskView) -> Selective:
    session = ledger.session
    return Selective(ledger.client, session.store, session.journal, ledger.organisation, dataset, task)


def boosted(update: Int32) -> Int32:
    """The update turned round and enlarged, cut where fixed point ends."""
    turned: Int32 = np.clip(np.rint(update * BOOST), -fixed.LIMIT, fixed.LIMIT).astype(np.int32)
    return turned


def _tamper(
    options: argparse.Namespace, number: int, ledger: fl.Ledger, task: fl.TaskView, raw: Records
) -> Tamper | None:
    """What the hospital does to its update in a round: nothing, if it is honest."""
    if number in options.boost:
        return boosted
    if number in options.backdoor:
        base = ledger.load(task.model)
        return lambda _honest: _backdoored(options.seed, number, task, base, raw)
    return None


def _backdoored(seed: int, number: int, task: fl.TaskView, base: Mapping[str, Records], raw: Records) -> Int32:
    """An update that plants a trigger in the version that the round starts from."""
    from examples.demo import backdoor

    network = FeedForward(task.inputs.widths)
    network.load(base)
    trigger = backdoor.Trigger.drawn(seed, math.isqrt(task.inputs.widths[0]), float(raw.max()))
    target = backdoor.easiest_target(network, task.inputs, trigger, raw)
    say("planted", round=number, pixels=trigger.pixels, grey=trigger.grey, target=target)
    return backdoor.poisoned_update(task.terms, task.inputs, base, raw, trigger, target)


def say(event: str, **facts: Any) -> None:
    """One line for whoever started this process."""
    print(json.dumps({"event": event, **facts}), flush=True)


def _model(widths: tuple[int, ...]) -> tuple[Any, Any]:
    """The logistic regression of the SDK, or a torch module for a network."""
    if len(widths) == 2:
        return None, None
    from examples.demo.network import build, record_loss

    return build(widths), record_loss


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in facts.items()}


def _rounds(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in text.split(",") if number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True, help="the devnet's home")
    parser.add_argument("--organisation", required=True)
    parser.add_argument("--key", default="worker")
    parser.add_argument("--task", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--records", type=Path, required=True, help="this hospital's records, a safetensors file")
    parser.add_argument(
        "--apart", type=Path, help="a journal of its own, as on another machine than the other process's"
    )
    parser.add_argument("--drop", type=_rounds, default=frozenset(), help="rounds to leave after reserving: 2,5")
    parser.add_argument("--boost", type=_rounds, default=frozenset(), help="rounds to attack crudely in: 3,4")
    parser.add_argument("--copy", type=_rounds, default=frozenset(), help="rounds to copy a commitment in: 6")
    parser.add_argument("--selective", type=_rounds, default=frozenset(), help="rounds to serve two verifiers in: 3")
    parser.add_argument("--backdoor", type=_rounds, default=frozenset(), help="rounds to plant a backdoor in: 8")
    parser.add_argument("--seed", type=int, default=1, help="which backdoor; never noise or sampling")
    return parser


if __name__ == "__main__":
    sys.exit(main())
