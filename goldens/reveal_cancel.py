"""DeepLIFT's RevealCancel rule, the slow and obvious way: what `deeplift_references.py` holds ours against.

For networks of linear modules, sums and rectifiers. One row at a time, every number of a rectifier's input is written
as a sum of terms, weight × difference, over what the layers before it take; weights come from an explicit Jacobian. The
terms are sorted by sign, and each formula of A. Shrikumar, P. Greenside, A. Kundaje (2017), arXiv:1704.02685, section
3.5, is one line. `by_hand` checks it on the paper's own examples, in numbers that can be done by hand.
"""

import operator

import torch
from torch import fx, nn

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


class Leaf:
    """What a network takes, what a rectifier gives and what a layer takes: one difference, not a sum of terms."""


class Explained:
    """A network on one row and on the baseline, every value kept."""

    def __init__(self, network, x, baseline):
        self.traced = fx.symbolic_trace(network)
        self.modules = dict(self.traced.named_modules())
        self.nodes = list(self.traced.graph.nodes)
        self.here, self.there = self.run(x), self.run(baseline)
        self.leaves = {node for node in self.nodes if self.is_leaf(node)}

    def module(self, node):
        return self.modules[node.target] if node.op == "call_module" else None

    def is_leaf(self, node):
        taken = any(isinstance(self.module(user), LAYERS) for user in node.users)
        return node.op == "placeholder" or isinstance(self.module(node), RECTIFIERS) or taken

    def compute(self, node, known):
        """A node's value, from those in `known`, which keeps it."""
        if node not in known:
            of = lambda argument: self.compute(argument, known) if isinstance(argument, fx.Node) else argument
            args, kwargs = fx.node.map_arg(node.args, of), fx.node.map_arg(node.kwargs, of)
            if node.op == "call_module":
                known[node] = self.modules[node.target](*args, **kwargs)
            elif node.op == "call_function":
                known[node] = node.target(*args, **kwargs)
            elif node.op == "call_method":
                known[node] = getattr(args[0], node.target)(*args[1:], **kwargs)
            else:
                known[node] = args[0]
        return known[node]

    def run(self, x):
        known = {next(node for node in self.nodes if node.op == "placeholder"): x}
        self.compute(self.nodes[-1], known)
        return known

    def terms(self, node):
        """The leaves that a value is a weighted sum of, and for each the weights [numbers of the value, of the leaf]."""
        leaves = []

        def visit(other):
            if other in self.leaves:
                if other not in leaves:
                    leaves.append(other)
                return
            for before in other.all_input_nodes:
                visit(before)

        for before in node.all_input_nodes if node in self.leaves else [node]:
            visit(before)

        def made(*values):
            known = {leaf: value for leaf, value in zip(leaves, values) if leaf is not node}
            return self.compute(node, known).flatten()

        found = torch.autograd.functional.jacobian(made, tuple(self.here[leaf] for leaf in leaves))
        return [(leaf, weights.flatten(1)) for leaf, weights in zip(leaves, found)]

    def difference(self, node):
        return (self.here[node] - self.there[node]).flatten()


def attribution(network, x, baseline, target):
    """[1, …]: m · (x − baseline) of one row."""
    of = Explained(network, x, baseline)
    multipliers = {leaf: torch.zeros_like(of.difference(leaf)) for leaf in of.leaves}

    def pass_back(node, positive, negative):
        """Gives the leaves what the multipliers of a value's positive and negative part come to."""
        for leaf, weights in of.terms(node):
            signs = torch.sign(weights * of.difference(leaf))
            share = torch.where(signs > 0, positive[:, None], negative[:, None])
            share = torch.where(signs == 0, (positive + negative)[:, None] / 2, share)
            multipliers[leaf] += (weights * share).sum(0)

    output = of.nodes[-1]
    one_hot = torch.zeros_like(of.here[output].flatten())
    one_hot[target] = 1
    pass_back(output, one_hot, one_hot)
    for node in reversed(of.nodes):
        if node not in of.leaves or node.op == "placeholder":
            continue
        m = multipliers[node]
        if not isinstance(of.module(node), RECTIFIERS):
            pass_back(node, m, m)
            continue
        (before,) = node.all_input_nodes
        r = of.module(node)
        x0, y0, y = of.there[before].flatten(), of.there[node].flatten(), of.here[node].flatten()
        if before in of.leaves:
            contributions = [of.difference(before)[:, None]]
        else:
            contributions = [weights * of.difference(leaf) for leaf, weights in of.terms(before)]
        up = sum(part.clamp(min=0).sum(1) for part in contributions)
        down = sum(part.clamp(max=0).sum(1) for part in contributions)
        dy_up = (r(x0 + up) - y0) / 2 + (y - r(x0 + down)) / 2
        dy_down = (r(x0 + down) - y0) / 2 + (y - r(x0 + up)) / 2
        slope = (derivative(r, of.here[before].flatten()) + derivative(r, x0)) / 2
        ratio = lambda dy, dx: torch.where(dx.abs() > 1e-12, dy / torch.where(dx == 0, 1, dx), slope)
        positive, negative = m * ratio(dy_up, up), m * ratio(dy_down, down)
        if before in of.leaves:
            sign = torch.sign(of.difference(before))
            multipliers[before] += torch.where(sign > 0, positive, torch.where(sign < 0, negative, (positive + negative) / 2))
        else:
            pass_back(before, positive, negative)
    source = next(node for node in of.nodes if node.op == "placeholder")
    return (multipliers[source] * of.difference(source)).reshape(x.shape)


def derivative(r, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(r(x).sum(), x)[0]


class Extreme(nn.Module):
    """min(a, b) = a − max(0, a − b), or max(a, b) = a + max(0, b − a)."""

    def __init__(self, largest):
        super().__init__()
        self.between, self.relu, self.first = nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)
        self.join = operator.add if largest else operator.sub
        sign = -1.0 if largest else 1.0
        with torch.no_grad():
            self.between.weight.copy_(torch.tensor([[sign, -sign]]))
            self.first.weight.copy_(torch.tensor([[1.0, 0.0]]))

    def forward(self, x):
        return self.join(self.first(x), self.relu(self.between(x)))


def by_hand():
    """At (3, 1) from (0, 0), the paper's min(a, b) and its like.

    min: at the rectifier the parts of a − b are +3 and −1. Alone, 3 makes 3 and −1 makes 0; beside the other, 3 makes
    2 − 0 and −1 makes 2 − 3. So Δy⁺ = 5/2, Δy⁻ = −1/2: a gets 3 − 5/2 = 1/2, b gets 1/2. The rescale rule has 2/2 for
    both, and gives a 3 − 3 = 0 and b all of 1.

    max: the parts of b − a are +1 and −3, Δy⁺ = (1 − 0)/2 + (0 − 0)/2 = 1/2, Δy⁻ = −1/2: a gets 5/2 and b 1/2. The rescale
    rule sees a rectifier that stays at 0, and gives a 3 and b nothing.
    """
    x, zero = torch.tensor([[3.0, 1.0]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    for largest, expected in [(False, [[0.5, 0.5]]), (True, [[2.5, 0.5]])]:
        found = attribution(Extreme(largest).double(), x, zero, 0)
        assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-12), found
