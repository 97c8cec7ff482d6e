"""Objectives as formulas: one file a term, and the parser that makes `npo(beta=0.1) + 5*rt` of them."""

from unlearnkit.objectives.base import Objective, Term
from unlearnkit.objectives.formula import find_term, parse_objective, term_names

__all__ = ["Objective", "Term", "find_term", "parse_objective", "term_names"]
