"""``fedledger proposal``: what the members vote on."""

from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from .. import access, options
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError
from ..output import Fields, Format, Line, Listing, Rows, emit, plain, whole

if TYPE_CHECKING:
    from client_sdk.client import AcceptedTx, LedgerClient
    from client_sdk.secrets.keys import Keyring
    from contracts.governance import Action, Proposal
    from contracts.kernel import View

app = noun()


@verb(app, "show", example="proposal show 4")
def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="A proposal; without it, all are listed.")] = 0,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show what was put to the vote, by whom, and how the members voted."""
    opened = Access(ledger, who, output=output)
    if number == 0:
        _show_all(output, opened.ask(_all))
    else:
        from contracts import governance

        _show_one(output, number, opened.ask(lambda view: governance.require_proposal(view, number)))


@verb(app, "vote", example="proposal vote 4 --approve --as hospital-b/human")
def vote(
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The proposal.")],
    approve: Annotated[
        bool | None, typer.Option("--approve/--reject", help="Your organisation's vote; it cannot be changed.")
    ] = None,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Vote for your organisation with a human key. More than two thirds of the members decide."""
    from contracts.governance import ProposalDecided, Vote

    if approve is None:
        raise CliError("USAGE", "say --approve or --reject", f"Read it first: fedledger proposal show {number}")
    message = Vote(number, approve)

    async def work(client: "LedgerClient", ring: "Keyring") -> "AcceptedTx":
        return await access.submit(client, message)

    accepted = Access(ledger, who, passphrase_file, output).act(access.HUMAN, work)
    decided = next((event for event in accepted.events if isinstance(event, ProposalDecided)), None)
    outcome = f"It is {decided.status} with this vote." if decided else "It stays open until a quorum decides."
    emit(
        output,
        {
            "proposal": number,
            "approve": approve,
            "status": decided.status if decided else "open",
            "height": accepted.height,
            "transaction": accepted.hash,
        },
        Line(f"Voted {'for' if approve else 'against'} proposal {number} in block {accepted.height}. {outcome}"),
    )


def announce(output: Format, accepted: "AcceptedTx", what: str) -> None:
    """Tell about a proposal that was just made; ``what`` goes on "proposed"."""
    from contracts.governance import Proposed

    number = accepted.event(Proposed).proposal
    emit(
        output,
        {"proposal": number, "height": accepted.height, "transaction": accepted.hash},
        Line(f"Proposed {what}, as proposal {number}, in block {accepted.height}."),
        Line(f"Every other member votes: fedledger proposal vote {number} --approve --as MEMBER/human"),
    )


def _all(view: "View") -> Listing[tuple[int, "Proposal"]]:
    from client_sdk.reads.view import every
    from contracts import governance

    counter = governance.COUNTER.get(view)
    numbers = range(1, (counter.proposals if counter is not None else 0) + 1)
    return whole(list(enumerate(every(governance.PROPOSALS, view, numbers), start=1)))


def _show_all(output: Format, proposals: Listing[tuple[int, "Proposal"]]) -> None:
    rows = [
        (
            number,
            _subject(each.action),
            each.proposer,
            each.status,
            len(each.approvals),
            len(each.rejections),
        )
        for number, each in proposals.entries
    ]
    columns = ("number", "what", "by", "status", "for", "against")
    data = [{"proposal": number, **plain(each)} for number, each in proposals.entries]
    emit(output, data, Rows(columns, rows, empty="Nothing was ever proposed."), listed=proposals)


def _show_one(output: Format, number: int, proposal: "Proposal") -> None:
    from contracts.governance import (
        AdmitOrganisation,
        AdmitValidator,
        OpenTask,
        RecoverKey,
        RemoveMember,
        RollBackModel,
        SuspendMember,
    )
    from contracts.promises import promised

    from .. import units
    from ..terms import described

    fields = {
        "proposal": number,
        "what": _subject(proposal.action),
        "by": proposal.proposer,
        "status": proposal.status,
        "for": tuple(ballot.organisation for ballot in proposal.approvals),
        "against": tuple(ballot.organisation for ballot in proposal.rejections),
        "decided by": "more than two thirds of the active members",
        "open until": units.time(proposal.expires_at),
    }
    action = proposal.action
    if isinstance(action, AdmitOrganisation):
        wanted = action.admission
        chosen = promised(wanted.epsilon_cap, wanted.delta_inverse, wanted.order_milli)
        cap = units.promise(chosen.epsilon, chosen.delta_inverse, chosen.order_milli)
        fields |= {
            "legal identity": wanted.legal_id,
            "roles": wanted.roles,
            "ε cap": f"{cap}, over all its datasets together",
            "first key": f"{units.key(wanted.key.public)} ({wanted.key.purpose}; it proved that it holds it)",
            "encrypts to": wanted.recipient,
        }
    elif isinstance(action, OpenTask):
        fields |= described(action.terms)
    elif isinstance(action, RollBackModel):
        fields |= {"reason": action.reason}
    elif isinstance(action, AdmitValidator):
        fields |= {
            "key": f"{action.validator.public.hex()} (it proved that it holds it)",
            "in the place of": "nobody" if action.replaces is None else action.replaces.hex(),
        }
    elif isinstance(action, (SuspendMember, RemoveMember)):
        fields |= {"reason": action.reason}
    elif isinstance(action, RecoverKey):
        fields |= {"key": f"{units.key(action.key.public)} (it proved that it holds it)"}
    emit(output, {"proposal": number, **plain(proposal)}, Fields(fields))


def _subject(action: "Action") -> str:
    from contracts.governance import (
        AdmitOrganisation,
        AdmitValidator,
        CancelUpgrade,
        OpenTask,
        RecoverKey,
        ReinstateMember,
        RemoveMember,
        RemoveValidator,
        RollBackModel,
        ScheduleUpgrade,
        SuspendMember,
    )

    match action:
        case AdmitOrganisation():
            return f"admit {action.admission.organisation}"
        case OpenTask():
            return f"open task {action.terms.task}"
        case RollBackModel():
            return f"roll {action.model} back to version {action.version}"
        case AdmitValidator():
            return f"admit a validator of {action.validator.operator}"
        case RemoveValidator():
            return f"remove the validator {action.validator.hex()}"
        case ScheduleUpgrade():
            return f"go over to version {action.version} of the rules at block {action.height}"
        case CancelUpgrade():
            return f"cancel the upgrade to version {action.version} of the rules"
        case SuspendMember():
            return f"suspend {action.organisation}"
        case ReinstateMember():
            return f"reinstate {action.organisation}"
        case RemoveMember():
            return f"remove {action.organisation}"
        case RecoverKey():
            return f"give {action.organisation} a new human key"
    assert_never(action)
