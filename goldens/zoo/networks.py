"""Convolutional classifiers of torchvision with every parameter and buffer drawn at random.

As published without their trained weights, many prove nothing: heads of zeros, layer scales
of 1e-6, logits of 1e-14. Here weights are He-scaled, everything else is of order one, running
statistics are those of the signals that reach them, changed a little, and the head is scaled
so that logits vary by one from input to input. `require_order_one` refuses what came out otherwise.
"""

import zlib
from dataclasses import dataclass, field

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

ROWS = 8


class Refused(Exception):
    """Numbers that would prove nothing."""


@dataclass(frozen=True)
class Spec:
    """A network, and the forms it is exported in besides those that the exporters give by default."""

    name: str
    size: int = 224  # of the images it is evaluated on
    dynamic: bool = False  # also with any number of rows
    unfolded: bool = False  # also without folding and optimising
    arguments: dict = field(default_factory=dict)

    def build(self):
        return torchvision.models.get_model(self.name, weights=None, **self.arguments).eval()

    def variants(self):
        """(exporter, folded, dynamic)."""
        yield from (("torchscript", True, False), ("dynamo", True, False))
        if self.dynamic:
            yield from (("torchscript", True, True), ("dynamo", True, True))
        if self.unfolded:
            yield from (("torchscript", False, False), ("dynamo", False, False))


# As published with weights, these two normalise their input anew.
INCEPTION = dict(transform_input=True, init_weights=False)

SPECS = [
    Spec("squeezenet1_1", dynamic=True, unfolded=True),
    Spec("mobilenet_v3_small", dynamic=True, unfolded=True),
    Spec("shufflenet_v2_x1_0", dynamic=True, unfolded=True),
    Spec("resnet18", dynamic=True, unfolded=True),
    Spec("regnet_y_400mf", dynamic=True),
    Spec("mobilenet_v2", dynamic=True),
    Spec("mnasnet1_0"),
    Spec("efficientnet_b0", dynamic=True, unfolded=True),
    Spec("regnet_x_400mf"),
    Spec("mobilenet_v3_large"),
    Spec("squeezenet1_0"),
    Spec("googlenet", dynamic=True, unfolded=True, arguments=INCEPTION),
    Spec("densenet121", dynamic=True, unfolded=True),
    Spec("alexnet", dynamic=True),
    Spec("resnet50"),
    Spec("convnext_tiny", dynamic=True, unfolded=True),
    Spec("resnext50_32x4d"),
    Spec("inception_v3", size=299, dynamic=True, arguments=INCEPTION),
    Spec("efficientnet_v2_s", size=384),
    Spec("wide_resnet50_2"),
    Spec("convnext_small"),
    Spec("vgg11"),
    Spec("vgg16_bn"),
]


def generator(*words):
    """A generator of its own for each use, so that no draw depends on the order of others."""
    return torch.Generator().manual_seed(zlib.crc32("/".join(map(str, words)).encode()))


def normal(shape, scale, *words):
    return torch.randn(shape, generator=generator(*words)) * scale


def uniform(shape, low, high, *words):
    return torch.rand(shape, generator=generator(*words)) * (high - low) + low


def images(rows, size, *words):
    """Images with detail at every scale, each with its own contrast and colour: averages over space differ, too."""
    draw = generator("images", *words)
    x = torch.zeros(rows, 3, size, size)
    for cells in (2, 4, 8, 16, 32, 64):
        noise = torch.randn(rows, 3, cells, cells, generator=draw)
        x += F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
    x += torch.randn(rows, 3, size, size, generator=draw)
    x /= x.std(dim=(1, 2, 3), keepdim=True)
    contrast = torch.rand(rows, 1, 1, 1, generator=draw) + 0.5
    return x * contrast + torch.randn(rows, 3, 1, 1, generator=draw) * 0.5


def randomise(network, name, size):
    """Draws everything that `network` holds."""
    with torch.no_grad():
        for place, part in network.named_modules():
            for key, parameter in part.named_parameters(recurse=False):
                words = (name, place, key)
                if isinstance(part, (nn.BatchNorm2d, nn.LayerNorm)) and key == "weight" or key == "layer_scale":
                    drawn = uniform(parameter.shape, 0.5, 1.5, *words)
                elif isinstance(part, (nn.Conv2d, nn.Linear)) and key == "weight":
                    drawn = normal(parameter.shape, (2 / parameter[0].numel()) ** 0.5, *words)
                elif key == "bias":
                    drawn = normal(parameter.shape, 0.2, *words)
                else:
                    raise Refused(f"{name}: {place}.{key} is no parameter that is known")
                parameter.copy_(drawn)
        x = images(16, size, name, "calibration")
        calibrate_statistics(network, name, x)
        calibrate_head(network, name, x)
    return network


def calibrate_statistics(network, name, x):
    """Running statistics of what reaches each BatchNorm, changed so that none normalises exactly."""
    parts = [(place, part) for place, part in network.named_modules() if isinstance(part, nn.BatchNorm2d)]
    if not parts:
        return
    momenta = [part.momentum for _, part in parts]
    for _, part in parts:
        part.momentum = 1.0
        part.train()
    network(x)
    for (place, part), momentum in zip(parts, momenta):
        part.momentum = momentum
        part.eval()
        deviation = part.running_var.sqrt()
        part.running_mean += deviation * normal(deviation.shape, 0.1, name, place, "running_mean")
        part.running_var *= uniform(deviation.shape, 0.8, 1.25, name, place, "running_var")


def calibrate_head(network, name, x):
    """Scales the last layer so that each class varies by about one from input to input, about a mean of order one."""
    head = [part for part in network.modules() if isinstance(part, (nn.Linear, nn.Conv2d)) and part.bias is not None][-1]
    seen = []
    hook = head.register_forward_hook(lambda part, inputs, output: seen.append(output))
    network(x)
    hook.remove()
    logits = (seen[0] - head.bias.view(-1, *[1] * (seen[0].dim() - 2))).flatten(2) if seen[0].dim() > 2 else seen[0] - head.bias
    if logits.dim() == 3:
        # A rectifier may follow, and cuts half of it off.
        logits = logits.mean(2)
    scale = 1 / logits.std(0).mean()
    head.weight *= scale
    head.bias.copy_(normal(head.bias.shape, 0.5, name, "head") - logits.mean(0) * scale)


def require_order_one(name, logits, gradients):
    """Refuses logits [n, classes] and gradients [n, …] that would prove nothing; returns their scales."""
    for what, values in (("logits", logits), ("gradients", gradients)):
        if not torch.isfinite(values).all():
            raise Refused(f"{name}: {what} are not finite")
    spread = logits.std(0).mean().item()
    scale = logits.square().mean().sqrt().item()
    norms = gradients.flatten(1).norm(dim=1)
    if not (0.1 < scale < 10 and 0.1 < spread < 10):
        raise Refused(f"{name}: logits have a root mean square of {scale:.2g} and vary by {spread:.2g} over inputs")
    if not (norms.min() > 0.01 and norms.max() < 1000):
        raise Refused(f"{name}: norms of gradients are {norms.min():.2g} to {norms.max():.2g}")
    if (gradients == 0).double().mean() > 0.5:
        raise Refused(f"{name}: most of the gradients is zero")
    rows = F.normalize(gradients.flatten(1), dim=1)
    alike = (rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype)).max().item()
    if alike > 0.99:
        raise Refused(f"{name}: gradients of two inputs are the same but for {1 - alike:.2g}")
    return {"logits": scale, "logits_spread": spread, "gradient_norm": norms.median().item()}
