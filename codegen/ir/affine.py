"""Affine index arithmetic: a constant plus coefficients times loop variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.ir.arithmetic import Int


@dataclass(frozen=True)
class Affine:
    """``constant + sum(coefficient * variable)``; the terms keep their order, each variable once."""

    terms: tuple[tuple[str, Int], ...] = ()
    constant: Int = 0

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other)
        merged: dict[str, Int] = dict(self.terms)
        for name, coefficient in other.terms:
            merged[name] = merged[name] + coefficient if name in merged else coefficient
        terms = tuple((n, c) for n, c in merged.items() if not (isinstance(c, int) and c == 0))
        return Affine(terms, self.constant + other.constant)

    def __sub__(self, other: Affine | int) -> Affine:
        return self + (-other if isinstance(other, int) else other * -1)

    def __mul__(self, factor: Int) -> Affine:
        if isinstance(factor, int) and factor == 0:
            return Affine()
        terms = tuple((name, coefficient * factor) for name, coefficient in self.terms)
        return Affine(terms, self.constant * factor)

    @property
    def variables(self) -> tuple[str, ...]:
        """The loop variables with a term, in order."""
        return tuple(name for name, _ in self.terms)

    def coefficient(self, name: str) -> Int:
        """The factor of one variable; 0 when it does not occur."""
        return next((c for n, c in self.terms if n == name), 0)

    def substitute(self, values: Mapping[str, Affine]) -> Affine:
        """Replace variables by affine expressions; others stay."""
        if not any(name in values for name, _ in self.terms):
            return self
        result = Affine((), self.constant)
        for name, coefficient in self.terms:
            result = result + (
                values[name] * coefficient if name in values else Affine(((name, coefficient),))
            )
        return result

    def only(self, names: frozenset[str] | set[str]) -> Affine:
        """The terms whose variable is in ``names``, without the constant."""
        return Affine(tuple((n, c) for n, c in self.terms if n in names))

    def evaluate(self, values: Mapping[str, Int]) -> Int:
        """The value for given variables."""
        total: Int = self.constant
        for name, coefficient in self.terms:
            total = total + coefficient * values[name]
        return total

    def span(self, extents: Mapping[str, Int]) -> Int:
        """Number of integers from the least to the greatest value; coefficients are not negative.

        Variables without an extent count as fixed.
        """
        total: Int = 1
        for name, coefficient in self.terms:
            if name in extents:
                total = total + coefficient * (extents[name] - 1)
        return total


def variable(name: str) -> Affine:
    """The affine expression that is one variable."""
    return Affine(((name, 1),))
