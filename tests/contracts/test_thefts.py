"""What a thief of a human key cannot use up: reports of the keys that it stole, and places for its owner's keys."""

from campaigns.harness import consortium
from campaigns.harness.consortium import HOSPITAL_B
from contracts import identity
from contracts.identity import AddKey, EnrolmentCap, ReportedAlready, ReportStolenKey
from contracts.kernel import Place, limits
from contracts.kernel.types import Purpose


def test_a_thief_that_reports_the_key_it_stole_as_of_now_keeps_no_true_report_out() -> None:
    """The owner reports first the key that the thief had enrolled and reported with."""
    chain = consortium.joined()
    stolen, second = HOSPITAL_B.key(Purpose.HUMAN, 2), HOSPITAL_B.key(Purpose.HUMAN, 3)
    chain.submit(HOSPITAL_B, AddKey(stolen.enrolment()))
    theft = Place(chain.height + 1, 0)
    assert chain.block((stolen, AddKey(second.enrolment())))[0].code == 0
    chain.block()
    assert chain.block((second, ReportStolenKey(stolen.public, Place(chain.height + 1, 0))))[0].code == 0
    assert chain.block((HOSPITAL_B, ReportStolenKey(stolen.public, theft)))[0].code == ReportedAlready.code
    chain.submit(HOSPITAL_B, ReportStolenKey(second.public, theft))
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, theft))
    assert identity.KEYS.at(chain.view, stolen.public).revoked_from == theft


def test_keys_that_a_thief_enrolled_do_not_use_up_what_its_owner_may_enrol() -> None:
    chain = consortium.joined()
    stolen = HOSPITAL_B.key(Purpose.HUMAN, 2)
    chain.submit(HOSPITAL_B, AddKey(stolen.enrolment()))
    theft = Place(chain.height + 1, 0)
    codes = [
        chain.block((stolen, AddKey(HOSPITAL_B.key(Purpose.WORKLOAD, number).enrolment())))[0].code
        for number in range(20, 20 + limits.KEYS_PER_ORGANISATION)
    ]
    assert codes[-1] == EnrolmentCap.code
    chain.submit(HOSPITAL_B, ReportStolenKey(stolen.public, theft))
    chain.submit(HOSPITAL_B, AddKey(HOSPITAL_B.key(Purpose.WORKLOAD, 77).enrolment()))
