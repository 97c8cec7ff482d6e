"""Formulas: what is read, what is refused; and the losses of every term against the peers' own code."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

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
        ("0.123456789*npo(beta=1e-5)", "0.123456789*npo(beta=1e-05)"),
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
        ("ga(unit='word')", "'token', 'answer', 'sequence'"),
        ("rmu(layer=1) + rmu(layer=2)", "one layer"),
        ("idk + altpo", "one kind"),
        ("rmu(direction=3)", "a str is allowed"),
        ("kl(length=500)", "mask='all'"),
        ("ceu(skip=-1)", "0 or more"),
        ("dual(rate=-1)", "0 or more"),
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


# Under the option that reproduces the original where the default differs.
GOLDEN = [
    ("ga", "cases", "GradAscent"),
    ("ga + rt", "cases", "GradDiff_NLL"),
    ("ga + kl(mask='all')", "cases", "GradDiff_KL"),
    ("npo(beta=0.1)", "cases", "NPO_forget_only"),
    ("npo(beta=0.1) + rt", "cases", "NPO_NLL"),
    ("dpo(beta=0.1) + rt", "cases", "DPO_NLL"),
    ("altpo(beta=0.1) + rt", "cases", "DPO_NLL"),
    ("0.125*simnpo(beta=4.5) + rt", "cases", "SimNPO"),
    ("rmu(layer=2, c=2, variant='original')", "cases", "RMU"),
    ("undial(beta=10, variant='original')", "cases", "UNDIAL"),
    ("wga(beta=1) + rt", "cases", "WGA"),
    ("0.1*satimp(beta1=5, beta2=1) + rt", "cases", "SatImp"),
    ("ceu(skip=1)", "cases", "CEU"),
    ("pdu(variant='original') + dual(eps=0.3)", "cases", "PDU"),
    ("ga", "original_tofu_code", "grad_ascent"),
    ("ga + rt", "original_tofu_code", "grad_diff"),
    ("ga + kl(mask='all')", "original_tofu_code", "KL"),
    ("dpo(beta=0.1)", "original_tofu_code", "dpo"),
    ("npo(beta=0.1)", "original_tofu_code", "npo"),
    ("kto(beta=0.1, variant='original')", "original_tofu_code", "kto_logsigmoid"),
]
# (formula, variant, relative tolerance): the last two were computed by the less accurate of the two ways of a cross-entropy
VARIANTS = [
    ("undial(variant='original')", "UNDIAL_beta10_all_positions_with_-100_wrap_to_V-100", 5e-5),
    ("undial(variant='original')", "UNDIAL_framework", 5e-5),
    ("undial", "UNDIAL_beta10_answer_tokens_only", 5e-5),
    ("kl(mask='all')", "KL_retain_all_positions_incl_prompt_and_pad", 5e-5),
    ("kl(mask='all')", "KL_retain_framework", 5e-5),
    ("kl(mask='text')", "KL_retain_nonpad", 5e-5),
    ("kl", "KL_retain_predicting_answer_tokens", 5e-5),
    ("ga", "GradAscent_framework", 5e-5),
    ("ga", "GradAscent_token_mean", 1e-4),
    ("ga(unit='answer')", "GradAscent_mean_of_per_example_means", 2e-4),
]


def golden(shared: Path) -> Any:
    return json.loads((shared / "golden/losses/golden_losses.json").read_text())


def computed(shared: Path, formula: str, token_budget: int = 4096) -> dict[str, Any]:
    from unlearnkit.run.batch_loss import batch_loss

    batch, tiny = shared / "golden/losses/batch.json", shared / "golden/tiny"
    return batch_loss(parse_objective(formula), batch, str(tiny / "perturbed"), str(tiny / "full"), token_budget)


@pytest.mark.parametrize(("formula", "part", "case"), GOLDEN, ids=[f"{part}-{case}" for _, part, case in GOLDEN])
def test_losses_and_gradients_are_the_peers(shared: Path, formula: str, part: str, case: str) -> None:
    expected = golden(shared)[part][case]
    found = computed(shared, formula)
    assert found["loss"] == pytest.approx(expected["loss"], rel=5e-5)
    assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
    for term, name in (("rt", "retain_loss"), ("kl", "retain_loss"), ("ga", "forget_loss"), ("wga", "forget_loss")):
        if term in found["terms"] and name in expected:
            assert found["terms"][term] == pytest.approx(expected[name], rel=5e-5)


def test_every_golden_case_is_tried(shared: Path) -> None:
    stored = golden(shared)
    tried = {(part, case) for _, part, case in GOLDEN}
    assert tried == {(part, case) for part in ("cases", "original_tofu_code") for case in stored[part]}
    assert {name for _, name, _ in VARIANTS} == set(stored["variants"])


@pytest.mark.parametrize(("formula", "variant", "close"), VARIANTS, ids=[name for _, name, _ in VARIANTS])
def test_losses_under_other_masks_are_the_peers(shared: Path, formula: str, variant: str, close: float) -> None:
    assert computed(shared, formula)["loss"] == pytest.approx(golden(shared)["variants"][variant], rel=close)


@pytest.mark.parametrize(
    "formula", ["kl(mask='all')", "undial(variant='original')", "rmu(layer=2, variant='original')"]
)
def test_a_cut_batch_gives_the_same_loss(shared: Path, formula: str) -> None:
    assert computed(shared, formula, token_budget=200)["loss"] == pytest.approx(
        computed(shared, formula)["loss"], rel=1e-5
    )


def test_the_control_vector_is_that_of_seed_0(shared: Path) -> None:
    stored = shared / "golden/losses/rmu_control_vector.json"
    by_file = computed(shared, f"rmu(layer=2, direction={str(stored)!r})")
    assert by_file["loss"] == pytest.approx(computed(shared, "rmu(layer=2, seed=0)")["loss"], rel=1e-6)


@pytest.mark.parametrize("view", ["forget", "retain", "alternate"])
@pytest.mark.parametrize(("who", "model"), [("policy", "perturbed"), ("reference", "full")])
def test_log_likelihoods_of_answers_are_the_peers(shared: Path, view: str, who: str, model: str) -> None:
    from unlearnkit.models.forward import answer_logps
    from unlearnkit.models.load import load_model
    from unlearnkit.run.batch_loss import read_batch

    expected = golden(shared)["per_sequence"]
    rows = read_batch(shared / "golden/losses/batch.json").rows[view]
    logps = answer_logps(load_model(str(shared / "golden/tiny" / model)).model, rows)
    assert [len(row.answer) for row in rows] == expected[f"{view}_n_label_tokens"]
    # up to 1e-4 a token: theirs is a float32 cross-entropy over a transposed tensor
    assert [-float(one.sum()) for one in logps] == pytest.approx(expected[f"{view}_{who}_seq_nll"], abs=1e-3)
