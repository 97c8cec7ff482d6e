"""Formulas: what is read, what is refused; and the losses of every term against the peers' own code."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearnkit.errors import UserError
from unlearnkit.objectives import find_term, parse_objective, term_names


@pytest.mark.parametrize("name", term_names())
def test_a_term_says_what_it_is(name: str) -> None:
    term = find_term(name)
    one = term()
    assert one.name == name
    assert term.summary
    assert term.paper.startswith("arXiv:")
    assert ">>>" in (term.__doc__ or ""), "a term carries a worked number as a doctest"
    assert one.reads
    assert one.reduction in ("examples", "tokens")
    for field in fields(term):
        with pytest.raises(FrozenInstanceError):
            setattr(one, field.name, 0)


@pytest.mark.parametrize("name", term_names())
def test_a_term_reads_back_what_it_prints(name: str) -> None:
    objective = parse_objective(f"{name} + 2*rt")
    assert str(parse_objective(str(objective))) == str(objective)


weights = st.floats(0.001, 1000).map(lambda value: float(f"{value:.4g}"))


@given(parts=st.lists(st.tuples(weights, st.sampled_from(["ga", "rt", "npo(beta=0.5)", "kl"])), min_size=1, max_size=5))
def test_formulas_round_trip(parts: list[tuple[float, str]]) -> None:
    formula = " + ".join(f"{weight!r} * {term}" for weight, term in parts)
    objective = parse_objective(formula)
    assert [weight for weight, _ in objective.terms] == pytest.approx([weight for weight, _ in parts])
    assert str(parse_objective(str(objective))) == str(objective)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("npo(beta=0.1) + 5 * rt", "npo(beta=0.1) + 5*rt"),
        ("rt*5+npo", "5*rt + npo(beta=0.1)"),
        ("2*(ga + rt)", "2*ga + 2*rt"),
        ("ga - 0.5*kl", "ga - 0.5*kl"),
        ("-ga", "-ga"),
        ('ga(unit="sequence")', "ga(unit='sequence')"),
    ],
)
def test_formulas_are_written_one_way(formula: str, said: str) -> None:
    assert str(parse_objective(formula)) == said


@pytest.mark.parametrize(
    ("formula", "hint"),
    [
        ("npoo", "Did you mean 'npo'"),
        ("npo(bta=1)", "Did you mean 'beta'"),
        ("npo(beta='x')", "a float is allowed"),
        ("npo(beta=0)", "above 0"),
        ("npo(0.1)", "cannot be read"),
        ("ga(unit='word')", "'token', 'sequence'"),
        ("rt(x=1)", "no hyperparameters"),
        ("", "cannot be read"),
        ("ga +", "cannot be read"),
        ("ga * rt", "cannot be read"),
        ("__import__('os').system('ls')", "cannot be read"),
        ("ga if 1 else rt", "cannot be read"),
        ("1e999*ga", "finite"),
        ("(" * 500 + "ga" + ")" * 500, "characters"),
        ("3", "cannot be read"),
        ("base", "unknown objective term"),
    ],
)
def test_bad_formulas_are_refused_in_one_line(formula: str, hint: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_objective(formula)
    assert hint in str(refused.value)
    assert "\n" not in str(refused.value)


GOLDEN = [
    ("ga", "cases", "GradAscent"),
    ("ga + rt", "cases", "GradDiff_NLL"),
    ("npo(beta=0.1)", "cases", "NPO_forget_only"),
    ("npo(beta=0.1) + rt", "cases", "NPO_NLL"),
    ("dpo(beta=0.1) + rt", "cases", "DPO_NLL"),
    ("npo(beta=0.1)", "original_tofu_code", "npo"),
    ("dpo(beta=0.1)", "original_tofu_code", "dpo"),
]


@pytest.mark.parametrize(("formula", "part", "case"), GOLDEN, ids=[case for _, _, case in GOLDEN])
def test_losses_and_gradients_are_the_peers(shared: Path, formula: str, part: str, case: str) -> None:
    from unlearnkit.run.batch_loss import batch_loss

    golden = json.loads((shared / "golden/losses/golden_losses.json").read_text())[part][case]
    tiny = shared / "golden/tiny"
    found = batch_loss(
        parse_objective(formula), shared / "golden/losses/batch.json", str(tiny / "perturbed"), str(tiny / "full")
    )
    assert found["loss"] == pytest.approx(golden["loss"], rel=5e-5)
    assert found["grad_norm"] == pytest.approx(golden["grad_norm"], rel=1e-4)


def test_the_kl_of_answers_is_the_peers_on_answer_positions(shared: Path) -> None:
    from unlearnkit.run.batch_loss import batch_loss

    variants = json.loads((shared / "golden/losses/golden_losses.json").read_text())["variants"]
    tiny = shared / "golden/tiny"
    found = batch_loss(
        parse_objective("kl"), shared / "golden/losses/batch.json", str(tiny / "perturbed"), str(tiny / "full")
    )
    golden = variants["KL_retain_predicting_answer_tokens"]
    assert found["loss"] == pytest.approx(golden["loss"] if isinstance(golden, dict) else golden, rel=1e-4)
