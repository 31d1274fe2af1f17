"""Every rule about who decides blocks is held by a claim: take the rule away, and the claim falls."""

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import admission_of
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_C, LAB
from contracts import possession, validators
from contracts.governance import AdmitValidator, Propose, RemoveValidator
from contracts.kernel import limits
from tests.contracts import test_validators as validators_claims
from tests.contracts.removals import Rule, instead, refusing, require_falls, without
from tests.contracts.test_validators import ADMISSION

RULES = (
    # Who decides blocks.
    Rule(
        "a validator is in the set once",
        without(validators.ValidatorExists, validators),
        refusing(validators.ValidatorExists, AdmitValidator(LAB.validator.admission(), None)),
    ),
    Rule(
        "only a validator is removed",
        instead(validators, "_named", lambda seated, _public: seated[0]),
        refusing(validators.UnknownValidator, RemoveValidator(HOSPITAL_C.validator.public)),
    ),
    Rule(
        "an operator has the role",
        without(validators.NotAnOperator, validators),
        refusing(validators.NotAnOperator, AdmitValidator(consortium.AUDITOR.validator.admission(), None)),
    ),
    Rule(
        "a key that signs transactions decides no blocks",
        without(validators.SigningKey, validators),
        refusing(validators.SigningKey, AdmitValidator(admission_of(HOSPITAL_C.human.seed, "hospital-c"), None)),
    ),
    Rule(
        "a validator's operator holds its key",
        without(possession.NotInPossession, validators),
        lambda: validators_claims.test_a_validator_whose_operator_does_not_hold_its_key(
            HOSPITAL_C.validator.admission(bytes(32))
        ),
    ),
    Rule(
        "a validator's key is a strong one",
        without(possession.WeakKey, validators),
        validators_claims.test_a_validator_with_a_key_of_small_order,
    ),
    Rule(
        "the set is bounded",
        without(validators.TooManyValidators, validators),
        lambda: validators_claims.full().refused(validators.TooManyValidators, HOSPITAL_A, Propose(ADMISSION)),
    ),
    Rule(
        "somebody decides blocks",
        without(validators.LastValidator, validators),
        lambda: validators_claims.with_set(consortium.founded(), "lab").refused(
            validators.LastValidator, HOSPITAL_A, Propose(RemoveValidator(LAB.validator.public))
        ),
    ),
    Rule(
        "nobody holds a third of the power",
        without(validators.PowerConcentrated, validators),
        refusing(validators.PowerConcentrated, RemoveValidator(LAB.validator.public)),
    ),
    Rule(
        "few operators are equal",
        instead(validators, "FEWEST_OPERATORS", limits.VALIDATORS),
        refusing(validators.PowerConcentrated, RemoveValidator(LAB.validator.public)),
    ),
    Rule(
        "what comes and goes in one block is not told",
        instead(validators, "updates", lambda _before, writes: tuple(writes)),
        validators_claims.test_what_comes_and_goes_in_one_block_is_not_told,
    ),
)


@pytest.fixture(autouse=True, scope="module")
def stages() -> None:
    """Stages are built once and kept: all of them while every rule is in force."""
    consortium.founded()


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_without_the_rule_its_claim_falls(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    require_falls(rule, monkeypatch)
