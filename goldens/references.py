"""What a method says of a network, by PyTorch's derivatives and by Captum.

Everything is computed in the type of the network and the input, so that the same
functions give the float64 vectors and the float32 ones they are compared with.

Where we and Captum part:

- Captum's trapezoid gives each of its n points the weight 1/n, half that at the ends.
  These weights add up to (n − 1)/n, not to 1, so its integral of a constant is wrong
  by that factor. The vectors here are Captum's divided by it.
- Captum's guided backpropagation and deconvolution change `nn.ReLU` only. Ours change
  every rectifier: Relu, Clip(0, ·) and LeakyRelu. `Rectifier` below writes that down;
  where a network's rectifiers are all `nn.ReLU`, both must agree.
"""

import copy

import captum.attr
import torch
from torch import nn

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)
STEPS = 32


def slope(module, x):
    """The derivative of a rectifier at x."""
    if isinstance(module, nn.ReLU6):
        return ((x > 0) & (x < 6)).to(x.dtype)
    below = module.negative_slope if isinstance(module, nn.LeakyReLU) else 0.0
    return torch.where(x > 0, torch.ones_like(x), torch.full_like(x, below))


class Rule(torch.autograd.Function):
    """A rectifier with another derivative.

    guided-backprop: dx = slope(x) · max(dy, 0); deconvnet: dx = max(dy, 0).
    """

    @staticmethod
    def forward(context, x, module, rule):
        context.save_for_backward(slope(module, x))
        context.rule = rule
        return module(x)

    @staticmethod
    def backward(context, dy):
        (factor,) = context.saved_tensors
        dx = dy.clamp(min=0)
        return (factor * dx if context.rule == "guided-backprop" else dx), None, None


class Rectifier(nn.Module):
    """`module` with the derivative of `rule`."""

    def __init__(self, module, rule):
        super().__init__()
        self.module, self.rule = module, rule

    def forward(self, x):
        return Rule.apply(x, self.module, self.rule)


def with_rule(network, rule):
    """A copy of `network` whose rectifiers follow `rule`."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RECTIFIERS) and not isinstance(parent, Rectifier):
                setattr(parent, name, Rectifier(child, rule))
    return network


def gradient(network, x, target):
    """The derivative of each row's target logit by that row of x."""
    x = x.clone().requires_grad_()
    logits = network(x)
    return torch.autograd.grad(logits.gather(1, target[:, None]).sum(), x)[0]


def rectified(network, x, target, rule):
    """guided-backprop or deconvnet, checked against Captum where Captum sees every rectifier."""
    ours = gradient(with_rule(network, rule), x, target)
    if all(isinstance(m, nn.ReLU) for m in network.modules() if isinstance(m, RECTIFIERS)):
        method = {"guided-backprop": captum.attr.GuidedBackprop, "deconvnet": captum.attr.Deconvolution}[rule]
        theirs = method(copy.deepcopy(network)).attribute(x.clone(), target=target)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
    return ours


def integrated_gradients(network, x, target, baseline, quadrature):
    """Captum's, with 32 points on the straight line from the baseline."""
    method = {"gauss-legendre": "gausslegendre", "trapezoid": "riemann_trapezoid"}[quadrature]
    found = captum.attr.IntegratedGradients(network).attribute(
        x, baselines=baseline, target=target, n_steps=STEPS, method=method
    )
    return found.detach() * (STEPS / (STEPS - 1) if quadrature == "trapezoid" else 1)


def smoothgrad(network, x, target, noise):
    """The mean over the samples of the gradient at x + noise; noise is [samples, n, …]."""
    return torch.stack([gradient(network, x + sample, target) for sample in noise]).mean(0)


def grad_cam(network, x, target, layer):
    """Captum's, at the layer's own resolution: [n, 1, …]."""
    module = network.get_submodule(layer)
    return captum.attr.LayerGradCam(network, module).attribute(x, target=target, relu_attributions=True).detach()


def occlusion(network, x, target, window, stride, baseline):
    """Captum's: a window's drop goes to each of its elements, averaged where windows overlap."""
    return captum.attr.Occlusion(network).attribute(
        x, sliding_window_shapes=window, strides=stride, baselines=baseline, target=target
    )


def weight_derivatives(network, x, target):
    """Parameter name to the derivative of the sum of the target logits."""
    names, parameters = zip(*network.named_parameters())
    total = network(x).gather(1, target[:, None]).sum()
    return dict(zip(names, torch.autograd.grad(total, parameters)))


def training(network, x, target, learning_rate, momentum, steps):
    """Losses before each step, and the parameters after each: mean cross-entropy, SGD.

    v ← momentum · v + g, w ← w − learning_rate · v, v = 0 before the first step.
    """
    network = copy.deepcopy(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum)
    losses, weights = [], []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().clone())
        weights.append({name: p.detach().clone() for name, p in network.named_parameters()})
    return torch.stack(losses), weights


def cases(spec, network):
    """What is computed of a network: key of the array, method, settings, and other inputs by key."""
    found = []

    def case(key, method, settings=None, **inputs):
        found.append({"key": key, "method": method, "settings": settings or {}, **inputs})

    case("gradient", "gradient")
    case("input-x-gradient", "input-x-gradient")
    # At the zero baseline a whole map is constant, so windows of a max-pooling tie there;
    # the trapezoid has its first point on the baseline.
    ties = any("Pool" in type(m).__name__ and "Max" in type(m).__name__ for m in network.modules())
    ties |= spec.name == "global_pooling"
    for quadrature in ("gauss-legendre", "trapezoid"):
        settings = {"quadrature": quadrature, "steps": STEPS}
        if not (ties and quadrature == "trapezoid"):
            case(f"integrated-gradients:{quadrature}:zero", "integrated-gradients", settings, baseline="zero")
        case(f"integrated-gradients:{quadrature}:given", "integrated-gradients", settings, baseline="baseline")
    case("smoothgrad", "smoothgrad", {"samples": 5}, noise="noise")
    kinds = {type(m) for m in network.modules()}
    if kinds & set(RECTIFIERS) and nn.PReLU not in kinds:
        case("guided-backprop", "guided-backprop")
        case("deconvnet", "deconvnet")
    for layer in spec.layers:
        case(f"grad-cam:{layer}", "grad-cam", layer=layer)
    for number, (window, stride) in enumerate(spec.occlusion):
        settings = {"window": list(window), "stride": list(stride)}
        case(f"occlusion:{number}:zero", "occlusion", settings, baseline="zero")
        case(f"occlusion:{number}:given", "occlusion", settings, baseline="baseline")
    return found


def attribution(network, case, arrays, x, target):
    """The array of a case; `arrays` holds `baseline` and `noise`."""
    method, settings = case["method"], case["settings"]
    baseline = arrays["baseline"] if case.get("baseline") == "baseline" else torch.zeros_like(x[:1])
    if method == "gradient":
        return gradient(network, x, target)
    if method == "input-x-gradient":
        return captum.attr.InputXGradient(network).attribute(x, target=target).detach()
    if method == "integrated-gradients":
        return integrated_gradients(network, x, target, baseline, settings["quadrature"])
    if method == "smoothgrad":
        return smoothgrad(network, x, target, arrays["noise"])
    if method in ("guided-backprop", "deconvnet"):
        return rectified(network, x, target, method)
    if method == "grad-cam":
        return grad_cam(network, x, target, case["layer"])
    if method == "occlusion":
        return occlusion(network, x, target, tuple(settings["window"]), tuple(settings["stride"]), baseline)
    raise ValueError(method)
