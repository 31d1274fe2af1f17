"""What a contribution came to: what it cost and where it is recorded, or why it came to nothing.

Each error says whether anything was charged: that follows from the round, not from the error.
"""

from dataclasses import dataclass

from ..errors import Kind, SdkError


@dataclass(frozen=True)
class Contribution:
    """What a round cost and where it is recorded. ε values are at the dataset's δ, in 10⁻⁹."""

    round: int
    height: int  # Of the accepted commitment.
    cid: str
    charged: int  # ε of this round alone; rounds compose, these do not add.
    spent: int  # Cumulative ε of the dataset with this round.
    bytes: int  # Of the payload as it is served.


class RoundCameToNothing(SdkError):
    """The round ended before its barrier. What was trained for it is destroyed, and has left no house.

    ``charged`` says whether the seat pays: only if it did not commit although training had started.
    """

    kind = Kind.REFUSED
    hint = "Nothing to do: the next round starts anew."

    def __init__(self, number: int, reason: str, charged: bool) -> None:
        paid = "its price is spent, for nothing was committed" if charged else "nothing was charged"
        super().__init__(f"round {number} came to nothing: {reason}; {paid}")
        self.round, self.reason, self.charged = number, reason, charged


class CommitMissed(SdkError):
    """The round passed its barrier without this seat's commitment. Its price is spent."""

    kind = Kind.TIMEOUT
    hint = "Training must end within the phase that the terms give it: use fewer records, or a faster machine."

    def __init__(self, number: int) -> None:
        super().__init__(f"round {number} passed its barrier without this seat's commitment; its price is spent")
        self.round = number


class UpdateUnfit(SdkError):
    """The trained update is not what its receivers would take. Nothing was committed; the price is spent.

    ``field`` is what is wrong with it: ``norm``, ``payload`` or ``size``.
    """

    kind = Kind.REFUSED
    hint = "Compare model, records and learning rate with the terms: `fedledger task show`."

    def __init__(self, number: int, field: str, why: str) -> None:
        super().__init__(f"the update for round {number} is unfit, {field}: {why}; nothing was committed")
        self.round, self.field, self.why = number, field, why


class TrainingInterrupted(SdkError):
    """A training for this round was started and did not end. It is not started again; the price is spent."""

    kind = Kind.REFUSED
    hint = "Nothing to do in this round: one reservation pays for one training. Take part in the next one."

    def __init__(self, number: int) -> None:
        super().__init__(f"the training for round {number} was interrupted; one reservation pays for one training")
        self.round = number


class PayloadLost(SdkError):
    """The ledger holds a commitment of ours whose payload this machine does not have."""

    kind = Kind.REFUSED
    hint = "Restore the journal folder. Without the payload the contribution counts as missing; its budget is spent."
