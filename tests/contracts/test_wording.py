"""The words that results carry: a closed vocabulary, because whoever rewords one forks the chain.

Code and data of a result are covered by the block's header; logs, hints and messages of exceptions are not, and may be
reworded at any time. A change of a list here is a consensus-breaking change.
"""

import ast
from pathlib import Path

from contracts.kernel import codec, recipient
from contracts.registry import RULES

CORE = Path(__file__).parents[2] / "contracts"

SENTENCES = (
    ("terms", "TermsInconsistent", "leaves out a verifier"),
    ("terms", "TermsInconsistent", "minimum + byzantine is more than the seats"),
    ("terms", "TermsInconsistent", "names an organisation twice"),
    ("terms", "TermsInconsistent", "names one that does not vote"),
    ("terms", "TermsInconsistent", "needs 3f+1 voters besides any aggregator"),
    ("terms", "TermsInconsistent", "samples no records"),
    ("terms", "TermsInconsistent", "the rate is at most 1"),
)


def test_the_faults_of_bytes_and_of_recipients_are_these() -> None:
    assert [fault.value for fault in codec.Fault] == [
        "encoding", "template", "type", "range", "length", "form", "choice", "missing", "unknown",
        "default",
    ]  # fmt: skip
    assert [fault.value for fault in recipient.Fault] == [
        "form", "checksum", "padding", "not-canonical", "small-order",
    ]  # fmt: skip


def test_the_words_in_refusals_are_these() -> None:
    """Literal text among the facts of a refusal, wherever the core makes one."""
    names = [refusal.__name__ for refusal in RULES.refusals.values()]
    found = []
    for path in sorted(CORE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).rpartition(".")[2]
            facts = [keyword.value for keyword in node.keywords] if called in names else []
            if path.stem == "terms" and called == "_require":
                called, facts = "TermsInconsistent", node.args[2:]
            words = [fact.value for fact in facts if isinstance(fact, ast.Constant) and isinstance(fact.value, str)]
            found += [(path.stem, called, word) for word in words]
    assert sorted(dict.fromkeys(found)) == sorted((*SENTENCES, *WORDS))


def test_no_exception_s_text_is_a_fact() -> None:
    """``str(error)``, ``error.args`` and f-strings of an exception go into logs only."""
    for path in sorted(CORE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and node.name:
                for raised in (each for each in ast.walk(node) if isinstance(each, ast.Raise)):
                    told = ast.unparse(raised.exc) if raised.exc else ""
                    spoken = (f"str({node.name})", f"{node.name}.args", f"{node.name}.why", f"{{{node.name}}}")
                    no_refusal = any(name in told for name in ("InvariantBroken", "MigrationFailed", "SelfTestFailed"))
                    assert no_refusal or not any(word in told for word in spoken), f"{path.name}: {told}"


WORDS = (
    ("ballots", "NotACandidate", "candidate.agreed"),
    ("ballots", "NotACandidate", "candidate.judgements"),
    ("ballots", "NotACandidate", "candidate.parent"),
    ("ballots", "NotACandidate", "candidate.round"),
    ("ballots", "NotACandidate", "correct"),
    ("ballots", "NotCommittedTo", "held"),
    ("identity", "EnrolmentCap", "datasets"),
    ("identity", "EnrolmentCap", "keys"),
    ("identity", "EnrolmentCap", "organisations"),
    ("membership", "EnrolmentCap", "recoveries"),
    ("promises", "UnknownOrder", "order_milli"),
)
