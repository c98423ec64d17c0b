"""Find the arithmetic behind integers that were seen at several sizes.

The sizes are odd and mutually prime, so that expressions that agree at one part at another. What is found is the
shortest that agrees at all of them; where none does, the answer is None, and never the nearest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, combinations_with_replacement
from math import prod

from tuner.kernel.arith import next_power_of_2

Seen = tuple[int, ...]
"""A value at each of the sizes."""


@dataclass
class Fitter:
    """Finds expressions of dimensions and constants.

    Attributes:
        sizes: of each dimension at each run.
        constants: values of a launch's constants at each run, by name.
    """

    sizes: Mapping[str, Seen]
    constants: Mapping[str, Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._runs = len(next(iter(self.sizes.values()), ()))
        self._products = self._all_products()
        self._known = self._all()

    def fit(self, values: Sequence[int], *, powers: bool = False) -> str | None:
        """The shortest expression with these values, as text; None where there is none.

        Args:
            values: what was seen, in the order of the sizes.
            powers: whether `next_power_of_2` may be in it, which no launch takes.
        """
        seen = tuple(values)
        if len(set(seen)) == 1:
            return self._same(seen)
        found = self._known.get(seen) or self._combined(seen)
        if found is None and powers:
            found = self._power(seen)
        return found

    def _same(self, seen: Seen) -> str:
        """A number, or the dimension that has the same size in all runs."""
        for name, sizes in self.sizes.items():
            if sizes == seen and seen[0] > 1:
                return name
        return str(seen[0])

    def _all_products(self) -> dict[Seen, str]:
        products: dict[Seen, str] = {}
        names = list(self.sizes)
        for count in range(1, min(len(names), 5) + 1):
            for chosen in combinations(names, count):
                products.setdefault(self._of(chosen), " * ".join(chosen))
        for chosen in combinations_with_replacement(names, 2):
            products.setdefault(self._of(chosen), " * ".join(chosen))
        return products

    def _of(self, names: Sequence[str]) -> Seen:
        return tuple(prod(self.sizes[n][run] for n in names) for run in range(self._runs))

    def _all(self) -> dict[Seen, str]:
        """Expressions with one operator, shortest first."""
        known = dict(self._products)
        for name, values in self.constants.items():
            known.setdefault(values, name)
        for base, text in list(self._products.items()):
            for name, by in self.constants.items():
                if all(by):
                    inner = _in_brackets(text)
                    known.setdefault(tuple(-(-b // c) for b, c in zip(base, by, strict=True)), f"cdiv({text}, {name})")
                    known.setdefault(tuple(b // c for b, c in zip(base, by, strict=True)), f"{inner} // {name}")
                    known.setdefault(tuple(b * c for b, c in zip(base, by, strict=True)), f"{text} * {name}")
        return known

    def _combined(self, seen: Seen) -> str | None:
        for find in (self._scaled, self._shifted, self._divided, self._product, self._sum, self._bounded):
            found = find(seen)
            if found is not None:
                return found
        return None

    def _scaled(self, seen: Seen) -> str | None:
        for base, text in self._products.items():
            factor = seen[0] // base[0]
            if factor > 1 and all(s == factor * b for s, b in zip(seen, base, strict=True)):
                return f"{factor} * {text}"
        return None

    def _shifted(self, seen: Seen) -> str | None:
        """A multiple of one dimension, and a little more or less."""
        for base, text in self._products.items():
            steps = {(s - seen[0], b - base[0]) for s, b in zip(seen[1:], base[1:], strict=True)}
            ds, db = next(iter(steps))
            if db == 0 or ds % db:
                continue
            factor = ds // db
            shift = seen[0] - factor * base[0]
            if factor > 0 and shift and all(s == factor * b + shift for s, b in zip(seen, base, strict=True)):
                scaled = text if factor == 1 else f"{factor} * {text}"
                return f"{scaled} {'+' if shift > 0 else '-'} {abs(shift)}"
        return None

    def _divided(self, seen: Seen) -> str | None:
        """A product divided by a number, rounded up or down; only where the runs leave a single such power of two."""
        for base, text in self._products.items():
            for up in (False, True):
                low, high = 2, max(base)
                for s, b in zip(seen, base, strict=True):
                    if s < 1:
                        break
                    if up:  # ceil(b / c) == s
                        low, high = max(low, -(-b // s)), min(high, -(-b // (s - 1)) - 1 if s > 1 else high)
                    else:  # b // c == s
                        low, high = max(low, b // (s + 1) + 1), min(high, b // s)
                else:
                    powers = [c for c in (2**n for n in range(1, 31)) if low <= c <= high]
                    exact = [low] if low == high else powers
                    if len(exact) == 1:
                        return f"cdiv({text}, {exact[0]})" if up else f"{_in_brackets(text)} // {exact[0]}"
        return None

    def _product(self, seen: Seen) -> str | None:
        for left, text in self._known.items():
            if all(left) and left != seen and all(s % part == 0 for s, part in zip(seen, left, strict=True)):
                right = tuple(s // part for s, part in zip(seen, left, strict=True))
                if right in self._known and len(set(right)) > 1 and len(set(left)) > 1:
                    return f"{_in_brackets(text)} * {_in_brackets(self._known[right])}"
                if len(set(right)) == 1 and right[0] > 1 and len(set(left)) > 1:
                    return f"{right[0]} * {_in_brackets(text)}"
                nested = self._divided(right) if len(set(right)) > 1 else None
                if nested is not None and len(set(left)) > 1:
                    return f"{_in_brackets(text)} * {_in_brackets(nested)}"
        return None

    def _sum(self, seen: Seen) -> str | None:
        for left, text in self._known.items():
            right = tuple(s - part for s, part in zip(seen, left, strict=True))
            if all(r > 0 for r in right) and len(set(right)) > 1 and right in self._known:
                return f"{text} + {self._known[right]}"
            if len(set(right)) == 1 and right[0] and len(set(left)) > 1 and abs(right[0]) < 1 << 16:
                return f"{text} {'+' if right[0] > 0 else '-'} {abs(right[0])}"
        return None

    def _bounded(self, seen: Seen) -> str | None:
        """At most, or at least, the number that was seen more than once."""
        for name, bound in (("minimum", max(seen)), ("maximum", min(seen))):
            if seen.count(bound) < 2 or seen.count(bound) == len(seen):
                continue
            for base, text in self._candidates():
                limited = [min(b, bound) if name == "minimum" else max(b, bound) for b in base]
                if tuple(limited) == seen:
                    return f"{name}({text}, {bound})"
        return None

    def _candidates(self) -> Iterator[tuple[Seen, str]]:
        yield from self._known.items()
        for base, text in self._products.items():
            for power in range(1, 15):
                yield tuple(-(-b // 2**power) for b in base), f"cdiv({text}, {2**power})"

    def _power(self, seen: Seen) -> str | None:
        """A power of two made of a size, as blocks that hold a whole row are; the plainest first."""
        made = [(tuple(map(next_power_of_2, b)), f"next_power_of_2({t})") for b, t in self._candidates() if min(b) > 0]
        for powers, text in made:
            if powers == seen:
                return text
        for powers, text in made:
            for name, bound in (("min", max(seen)), ("max", min(seen))):
                limited = tuple(min(p, bound) if name == "min" else max(p, bound) for p in powers)
                if limited == seen and len(set(powers)) > 1:
                    return f"{name}({bound}, {text})"
        for factor in (2, 4):
            for powers, text in made:
                if tuple(p // factor for p in powers) == seen:
                    return f"{text} // {factor}"
                if tuple(p * factor for p in powers) == seen:
                    return f"{factor} * {text}"
        return None


def _in_brackets(text: str) -> str:
    plain = text.replace("_", "a").isalnum() or (text.startswith(("cdiv(", "next_")) and text.count("(") == 1)
    return text if plain else f"({text})"
