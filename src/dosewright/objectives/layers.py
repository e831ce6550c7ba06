"""All voxel-wise quadratic terms at once: the part of a penalty that touches most voxels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dosewright.objectives.terms.quadratic import QuadraticTerm

BLOCK = 32768  # voxels · plans worked on together, so that they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Layer:
    """One level and one weight for each voxel of a range; voxels of terms that do not overlap share a layer.

    Args:
        start: First voxel of the range, in the layers' order.
        stop: Voxel after the last.
        level_gy: D, for all plans (v, 1) or each (v, k).
        weight: 2 · priority / m, 0 where no term is.
        over: Whether doses above D count.
        under: Whether doses below D count.
    """

    start: int
    stop: int
    level_gy: Float[Tensor, "v p"]
    weight: Float[Tensor, "v q"]
    over: bool
    under: bool

    def between(self, start: int, stop: int) -> "Layer | None":
        """Return the part of the layer that has terms between two voxels; None if there is none."""
        part = slice(max(start - self.start, 0), max(stop - self.start, 0))
        used = (self.weight[part] != 0).any(dim=1).nonzero()
        if len(used) == 0:
            return None
        part = slice(part.start + int(used[0]), part.start + int(used[-1]) + 1)
        level = self.level_gy[part].contiguous()
        return Layer(self.start + part.start, self.start + part.stop, level, self.weight[part], self.over, self.under)

    def excess(self, dose_gy: Float[Tensor, "v k"]) -> Float[Tensor, "v k"]:
        """Return d − D where it counts, else 0."""
        difference = dose_gy - self.level_gy
        if self.over and self.under:
            return difference
        return difference.clamp_min_(0.0) if self.over else difference.clamp_max_(0.0)


_SIDES = ((True, False), (False, True), (True, True))


class VoxelLayers:
    """Σ priority · value of quadratic terms, evaluated without going through them one by one.

    The voxels that any term has are gathered once, in an order that keeps structures together, in a (voxels, plans)
    array. Terms of one sidedness that share no voxel are merged into one layer, and blocks of voxels pass through all
    layers while they are in the cache.

    Args:
        terms: The terms.
        voxels: n, the dose's number of voxels.
        plans: k, the number of plans in the doses to come.
        device: Where the terms and the doses are.
    """

    def __init__(self, terms: Sequence[QuadraticTerm], voxels: int, plans: int, device: torch.device) -> None:
        self.voxels = voxels
        self.rows = _ordered_rows(terms, voxels, device)
        layers = [layer for sides in _SIDES for layer in _layers_of(sides, terms, self.rows, voxels)]
        count = len(self.rows)
        size = max(BLOCK // plans, 1) if self.rows.device.type == "cpu" else max(count, 1)
        self._blocks = [_block(start, min(start + size, count), layers) for start in range(0, count, size)]

    def value_and_gradient(self, dose_gy: Float[Tensor, "n k"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "n k"]]:
        """Return the sums in float64 and the gradient.

        Args:
            dose_gy: Voxels first; contiguous is fastest.
        """
        inside = dose_gy.index_select(0, self.rows)
        value = torch.zeros(dose_gy.shape[1], dtype=torch.float64, device=dose_gy.device)
        for start, stop, layers in self._blocks:
            block = inside[start:stop]
            gradient, squares = torch.zeros_like(block), torch.zeros_like(block)
            for layer in layers:
                part = slice(layer.start - start, layer.stop - start)
                excess = layer.excess(block[part])
                slope = excess * layer.weight
                gradient[part].add_(slope)
                squares[part].addcmul_(excess, slope)
            value += squares.sum(0)
            block.copy_(gradient)
        return value / 2.0, self._spread(inside)

    def curvature(self, dose_gy: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return the diagonal of the Hessian."""
        inside = dose_gy.index_select(0, self.rows)
        result = torch.zeros_like(inside)
        for _, _, layers in self._blocks:
            for layer in layers:
                part = slice(layer.start, layer.stop)
                always = layer.over and layer.under
                counted = always or layer.excess(inside[part]) != 0
                result[part] += layer.weight * counted
        return self._spread(result)

    def _spread(self, inside: Float[Tensor, "v k"]) -> Float[Tensor, "n k"]:
        result = inside.new_zeros((self.voxels, inside.shape[1]))
        return result.index_copy_(0, self.rows, inside)


def _ordered_rows(terms: Sequence[QuadraticTerm], voxels: int, device: torch.device) -> Int[Tensor, " v"]:
    """Voxels that have a term, those with the same terms next to each other."""
    key = torch.zeros(voxels, dtype=torch.int64, device=device)
    count = torch.zeros(voxels, dtype=torch.int64, device=device)
    for term in terms:
        key *= 3  # wraps around after forty terms, where unlike voxels may then meet: slower, not wrong
        key[term.rows] += 1
        count[term.rows] += 1
    order = torch.argsort(key, stable=True)
    return order[count[order] > 0]


def _layers_of(
    sides: tuple[bool, bool], terms: Sequence[QuadraticTerm], rows: Int[Tensor, " v"], voxels: int
) -> list[Layer]:
    """Layers of the terms with these sides; a voxel's j-th term is in layer j."""
    chosen = [term for term in terms if (term.over, term.under) == sides]
    place = torch.empty(voxels, dtype=torch.int64, device=rows.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    filled = torch.zeros(voxels, dtype=torch.int64, device=rows.device)
    entries: list[list[tuple[QuadraticTerm, Tensor]]] = []
    for term in chosen:
        depth = filled[term.rows]
        for j in depth.unique().tolist():
            if j == len(entries):
                entries.append([])
            entries[j].append((term, depth == j))
        filled[term.rows] += 1
    return [_layer(sides, entry, place, len(rows)) for entry in entries]


def _layer(
    sides: tuple[bool, bool], entries: Sequence[tuple[QuadraticTerm, Tensor]], place: Int[Tensor, " n"], count: int
) -> Layer:
    first = entries[0][0].priority
    level = first.new_zeros(count, max(term.level_gy.shape[0] for term, _ in entries))
    weight = first.new_zeros(count, max(len(term.priority) for term, _ in entries))
    for term, chosen in entries:
        where = place[term.rows[chosen]]
        term_level = term.level_gy if term.level_gy.shape[1] == 1 else term.level_gy[:, chosen]
        level[where] = term_level.T
        weight[where] = term.priority * (2.0 / len(term.rows))
    return Layer(0, count, level, weight, *sides)


def _block(start: int, stop: int, layers: Sequence[Layer]) -> tuple[int, int, tuple[Layer, ...]]:
    parts = [layer.between(start, stop) for layer in layers]
    return start, stop, tuple(part for part in parts if part is not None)
