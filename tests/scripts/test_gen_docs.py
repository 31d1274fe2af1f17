"""The generated parts of the docs: what is read from the source, and what is noticed."""

import re

import pytest

from client_sdk.reads.refusals import NODE_REFUSALS
from contracts.privacy_budget import BudgetExceeded
from contracts.registry import CONTRACTS, RULES
from scripts import docs_examples, gen_docs
from scripts.gen_docs import MarkersDiffer, render


def test_a_block_is_exchanged_and_the_prose_around_it_is_left_alone() -> None:
    text = "Before.\n\n<!-- generated: types -->\nold\n<!-- end -->\n\nAfter.\n"
    assert render(text, {"types": "new"}) == text.replace("old", "new")


def test_rendering_twice_changes_nothing() -> None:
    generated = gen_docs.blocks()
    once = render(gen_docs.PROTOCOL.read_text(encoding="utf-8"), generated)
    assert render(once, generated) == once


@pytest.mark.parametrize(
    "text", ["", "<!-- generated: other -->\n<!-- end -->", "<!-- generated: types -->\n<!-- end -->\n" * 2]
)
def test_a_forgotten_unknown_or_repeated_marker_is_noticed(text: str) -> None:
    with pytest.raises(MarkersDiffer):
        render(text, {"types": "new"})


def test_every_contract_has_a_chapter() -> None:
    assert {contract.name for contract in CONTRACTS} <= set(gen_docs.blocks())


def test_every_code_has_a_heading_once() -> None:
    headings = re.findall(r"^## (\d+) ", gen_docs.codes(), re.MULTILINE)
    assert [int(code) for code in headings] == [0, 1, *sorted(RULES.refusals), *NODE_REFUSALS]


def test_a_code_lists_its_facts_and_the_vector_that_shows_it() -> None:
    chapter = gen_docs.codes().partition(f"## {BudgetExceeded.code} ")[2].partition("\n## ")[0]
    assert "`account`, `spent`, `wanted`, `limit`" in chapter
    assert "an_exhausted_budget_is_refused_before_training.json" in chapter


def test_links_in_the_protocol_lead_to_headings_of_the_codes() -> None:
    anchors = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", gen_docs.codes(), re.MULTILINE)
    }
    linked = re.findall(r"codes\.md#([a-z0-9_-]+)", gen_docs.PROTOCOL.read_text(encoding="utf-8"))
    assert len(linked) > 100
    assert set(linked) <= anchors


def test_links_in_the_docs_lead_to_files() -> None:
    for path in (gen_docs.PROTOCOL, gen_docs.CODES):
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_envelope_in_the_example_is_explained_to_its_last_byte() -> None:
    example = docs_examples.envelope_example()
    assert "Ed25519 over the signed structure" in example
    assert "transaction's\nidentity: `" in example


def test_a_field_shows_its_type_its_bounds_and_its_comment() -> None:
    block = gen_docs.blocks()["rounds"]
    assert "| `noise_milli` | int 300..100,000 | Noise multiplier σ, in thousandths. |" in block
    assert "| `aggregators` | list of `OrgId`, 1 to 8 | In order of succession. |" in block
