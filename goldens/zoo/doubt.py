"""Which inputs come so near a kink that rounding decides the gradient.

At a rectifier or a max-pool the derivative jumps. Where a unit's float64 value is nearer to the
jump than float32's rounding, two right programs in float32 differ in that unit, and the gradient of
the whole network by a thousandth or more, against some 1e-6 of rounding alone. Whether that happens
is chance, and says nothing of either. PyTorch's float32 against its float64 says which
units are in doubt; nothing here knows of other programs.
"""

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from networks import ROWS, images

# How many images are looked at, always: of so many, the eight with the fewest units in doubt are taken.
CANDIDATES = 48

aten = torch.ops.aten


class Kinks(TorchDispatchMode):
    """Collects what reaches operators with kinks: the value, and its distances from the kinks."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        packet = function.overloadpacket
        if packet in (aten.relu, aten.relu_):
            self.found.append(("edges", (0.0,), arguments[0].clone()))
        elif packet in (aten.hardtanh, aten.hardtanh_):
            edges = tuple(float(edge) for edge in (*arguments[1:], *(-1, 1)[len(arguments) - 1 :]))
            self.found.append(("edges", edges, arguments[0].clone()))
        elif packet in (aten.hardswish, aten.hardswish_, aten.hardsigmoid, aten.hardsigmoid_):
            self.found.append(("edges", (-3.0, 3.0), arguments[0].clone()))
        elif packet in (aten.max_pool2d_with_indices, aten.max_pool2d):
            self.found.append(("pool", arguments[1:], arguments[0].clone()))
        return function(*arguments, **(keywords or {}))


def leads(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    """How far the largest of each window leads the second, infinite where it does not matter.

    Windows of zeros have passed a rectifier, and are flat. Positive numbers that are equal are one number that an
    earlier pool copied: the derivative is the same for each.
    """
    pair = lambda value: list(value) * (2 // len(value)) if isinstance(value, (list, tuple)) else [value, value]
    kernel, padding = pair(kernel), pair(padding)
    stride = pair(stride) if stride else kernel
    more = [k - 1 if ceil_mode else 0 for k in kernel]
    x = F.pad(x, (padding[1], padding[1] + more[1], padding[0], padding[0] + more[0]), value=-torch.inf)
    windows = x.unfold(2, kernel[0], stride[0]).unfold(3, kernel[1], stride[1]).flatten(4)
    best = windows.topk(2, -1).values
    lead = best[..., 0] - best[..., 1]
    return torch.where((best[..., 0] > 0) & (lead > 0), lead, torch.inf)


def turned(distance, error):
    """How many units with these distances from a kink an error of this root mean square turns, to be expected.

    What lies on the kink was put there by an earlier rectifier, in every program.
    """
    return 0.5 * torch.erfc(distance[distance > 0] / (error * 2**0.5)).sum().item()


def in_doubt(network, wide, x):
    """How many units rounding turns for one row, to be expected: errors are about normal, and about PyTorch's.

    `None` for a network without kinks.
    """
    with torch.no_grad():
        with Kinks() as narrow:
            network(x)
        if not narrow.found:
            return None
        with Kinks() as exact:
            wide(x.double())
    total = 0.0
    for (kind, edges, near), (_, _, value) in zip(narrow.found, exact.found, strict=True):
        # Pads of a pool may be infinite.
        error = (near.double() - value)[value.isfinite()].square().mean().sqrt()
        if kind == "edges":
            total += sum(turned((value - edge).abs(), error) for edge in edges)
        else:
            total += turned(leads(value, *edges), error * 2**0.5)
    return total


def inputs(network, wide, size, name):
    """The eight of the first `CANDIDATES` images with the fewest units in doubt, and how many units each has.

    Without kinks no image is better than another: the first eight.
    """
    candidates = [images(1, size, name, index) for index in range(CANDIDATES)]
    if in_doubt(network, wide, candidates[0]) is None:
        return torch.cat(candidates[:ROWS]), [0.0] * ROWS
    found = sorted((in_doubt(network, wide, x), index) for index, x in enumerate(candidates))[:ROWS]
    return torch.cat([candidates[index] for _, index in found]), [doubt for doubt, _ in found]
