"""How the members change the validator set: motions to admit, to replace and to remove, gathered and settled together.

Approvals are held back one short of the quorum, and then some of the motions are settled in one block, in any order.
So a block admits a key and removes it, or removes it and admits it again, and CometBFT must be told of neither. Some
consortia have elections, and then many; most of their motions are about one key.
"""

from random import Random

from contracts import electorate, governance, identity, origin, validators
from contracts.governance import Action, AdmitValidator, Propose, RemoveValidator, Vote
from contracts.kernel import View
from contracts.models import quorum

from ..harness.chain import Member, Validator
from ..harness.consortium import HOSPITAL_C
from .acts import Due
from .lifecycle import open_proposals
from .members import EVERYBODY, HOSPITALS, LABS, VERIFIERS

MOTIONS_MAX = 4
FIRST_HEIGHT = 2  # Before that, members enrol their keys.


class Elections:
    """What the members want of the validator set, read off the committed state."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lively = rng.random() < 0.4
        self._favourite = Validator(rng.choice((*[HOSPITAL_C] * 6, *HOSPITALS, *LABS)).name, rng.randrange(2))

    def due(self, view: View, height: int, now: int) -> Due:
        """Motions, approvals, and now and then the last ones that are missing."""
        rng = self._rng
        if not self._lively or height < FIRST_HEIGHT:
            return
        seated = validators.SET.at(view).validators
        ripe: list[tuple[Action, Member, Vote]] = []
        motions = [(number, proposal) for number, proposal in open_proposals(view) if is_motion(proposal.action)]
        for number, proposal in motions:
            missing = quorum(electorate.MEMBERSHIP.at(view).active) - len(proposal.approvals)
            waiting = _voters(view, proposal) if now < proposal.expires_at else []
            if missing > 1:
                for member in rng.sample(waiting, min(missing - 1, len(waiting))):
                    yield member, Vote(number, approve=rng.random() < 0.99)
            elif waiting:
                ripe.append((proposal.action, rng.choice(waiting), Vote(number, approve=True)))
        yield from ((member, vote) for _, member, vote in self._settled(seated, ripe))
        if len(motions) < MOTIONS_MAX:
            wanted = self._motion(view)  # Sometimes by several members: what passes first leaves the others hanging.
            for member in rng.sample(VERIFIERS, rng.choice((0, 1, 2, 2, 2))):
                yield member, Propose(wanted)

    def _settled(
        self, seated: tuple[validators.Validator, ...], ripe: list[tuple[Action, Member, Vote]]
    ) -> list[tuple[Action, Member, Vote]]:
        """Which of the motions that want one vote get it now, in which order.

        One that would change something, and mostly after it one that undoes that, which was left hanging until now.
        """
        rng = self._rng
        keys = dict.fromkeys(one.public for one in seated)
        useful = [one for one in ripe if isinstance(one[0], RemoveValidator) == (subject_of(one[0]) in keys)]
        if not useful:
            return ripe[:1] if rng.random() < 0.1 else []
        first = rng.choice(useful)
        undoing = [one for one in ripe if one not in useful and subject_of(one[0]) == subject_of(first[0])]
        return rng.sample([first, undoing[0]], 2) if undoing and rng.random() < 0.3 else [first, *undoing[:1]]

    def _motion(self, view: View) -> Action:
        """Mostly to admit the favourite when it is out, and to remove it when it is in; the ledger may refuse it.

        An organisation that has a validator mostly asks for a new key in the place of the old one.
        """
        rng = self._rng
        seated = validators.SET.at(view).validators
        subject = self._favourite if rng.random() < 0.8 else Validator(rng.choice((*HOSPITALS, *LABS)).name)
        if any(one.public == subject.public for one in seated):
            return RemoveValidator(subject.public)
        own = [one.public for one in seated if one.operator == subject.operator]
        if own and rng.random() < 0.9:
            return AdmitValidator(subject.admission(origin.genesis_of(view)), own[0])
        replaced = rng.choice(seated).public if rng.random() < 0.1 else None
        return AdmitValidator(subject.admission(origin.genesis_of(view)), replaced)


def is_motion(action: Action) -> bool:
    """Whether a proposal is about the validator set."""
    return isinstance(action, (AdmitValidator, RemoveValidator))


def subject_of(action: Action) -> bytes:
    """The key that a motion admits or removes."""
    assert isinstance(action, (AdmitValidator, RemoveValidator))
    return action.validator if isinstance(action, RemoveValidator) else action.validator.public


def _voters(view: View, proposal: governance.Proposal) -> list[Member]:
    """Who may vote on a proposal and has not."""
    voted = [ballot.organisation for ballot in (*proposal.approvals, *proposal.rejections)]
    return [member for member in EVERYBODY if identity.is_active(view, member.name) and member.name not in voted]
