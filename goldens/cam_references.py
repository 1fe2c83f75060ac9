"""What class activation maps and FullGrad say of the golden networks: `NAME.cam.npz` and `cam.json`.

    pip install -r requirements.txt
    python cam_references.py

Every map is written down here from its paper, in float64, and held against pytorch-grad-cam and Captum while
generating, before they rescale it. Where a tool differs from the paper the vector is the paper's, and the tool
is given the paper's choice before it is compared: `tool_differs` below shows each difference in numbers small
enough to check by hand, and fails when a tool no longer has it.

Differences of pytorch-grad-cam, all methods: negative parts are cut off, and each map is then scaled to 0…1 and
resized to the input; several layers are averaged. Ours stay at the layer's resolution, in the method's own unit.

- Grad-CAM++: α = g² / (2 g² + Σa · g³), and the tool adds 1e-6 below. Gradients of large maps are 1e-3 and less,
  so that g² is no larger than that, and α falls from 1/2 towards 0 with the number of positions.
- XGrad-CAM: the tool adds 1e-7 to Σa; the paper divides by Σa. A channel whose Σa is 0 gets weight 0 here.
- Eigen-CAM: the tool subtracts each channel's mean first, and keeps whatever sign the SVD returns; the paper
  projects the activations as they are. Here the value of largest magnitude is positive. Both are stored.
- Score-CAM: the tool upsamples with corners aligned; the authors' code does not, nor does this file. A map that is
  constant cannot be scaled to 0…1: the authors' code leaves it out, and so does this file; the tool masks
  everything with 0 and counts it.
- Ablation-CAM: the tool replaces a channel by min − 1e7 where no value of the layer is 0; the paper by 0. The paper
  divides by the score, which reverses the map where the score is negative: here it is divided by its magnitude.
- Guided Grad-CAM: Captum upsamples to the nearest neighbour by default; the paper bilinearly. Both are stored.
- FullGrad: the tool drops the terms of biases without space, as the paper's map does, adds 1e-7 to each channel's
  maximum, and resizes with OpenCV; it sees no implicit bias, such as that of a saturated Clip(0, 6).
  The authors' code scales all channels of a layer together (`layer`), their formula and the tool each channel by
  itself (`channel`); the authors' code aligns corners when resizing, the formula does not say.
"""

import copy
import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import captum.attr
import numpy as np
import pytorch_grad_cam
import pytorch_grad_cam.ablation_layer
import torch
import torch.nn.functional as F
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import nn

import generate
import references
from networks import SPECS

HERE = Path(__file__).resolve().parent
NETWORKS = ("cnn", "softmax_head", "convolutions", "depthwise", "squeeze_excite", "residual", "dense", "conv1d", "conv3d")
# Networks whose every function is linear or a rectifier, so that FullGrad's paper speaks of them.
RECTIFIERS_ONLY = ("mlp", "cnn", "convolutions", "depthwise", "residual", "dense", "conv1d", "conv3d")
BIASED = ("convolutions", "conv1d", "conv3d")  # convolutions that have a bias of their own before BatchNorm
TOOL = 1e-4  # of each row's maximum: the tool rounds to float32 on the way
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


# ---------------------------------------------------------------- the papers


def at_layer(network, x, target, layer):
    """Activation of a layer and the derivative of each row's target logit by it."""
    seen = {}
    module = network.get_submodule(layer)
    hook = module.register_forward_hook(lambda m, i, o: seen.update(a=o))
    logits = network(x)
    hook.remove()
    score = logits.gather(1, target[:, None]).sum()
    return seen["a"].detach(), torch.autograd.grad(score, seen["a"])[0]


def space(a):
    return tuple(range(2, a.dim()))


def weighted(weights, a):
    return (weights.reshape(*a.shape[:2], *[1] * (a.dim() - 2)) * a).sum(1, keepdim=True).clamp(min=0)


def grad_cam_plus_plus(a, g, epsilon=0.0):
    total = a.sum(space(a), keepdim=True)
    below = 2 * g**2 + total * g**3 + epsilon
    alpha = torch.where(g != 0, g**2 / torch.where(g != 0, below, 1.0), 0.0)
    return weighted((alpha * g.clamp(min=0)).sum(space(a)), a)


def hires_cam(a, g):
    return (a * g).sum(1, keepdim=True)


def xgrad_cam(a, g, epsilon=0.0):
    total = a.sum(space(a)) + epsilon
    return weighted(torch.where(total != 0, (a * g).sum(space(a)) / torch.where(total != 0, total, 1.0), 0.0), a)


def layer_cam(a, g):
    return (a * g.clamp(min=0)).sum(1, keepdim=True).clamp(min=0)


def eigen_cam(a, centre):
    maps = []
    for row in a.flatten(2).transpose(1, 2):  # [positions, channels]
        if centre:
            row = row - row.mean(0)
        projection = row @ torch.linalg.svd(row, full_matrices=False)[2][0]
        maps.append(projection * torch.sign(projection[projection.abs().argmax()]))
    return torch.stack(maps).reshape(a.shape[0], 1, *a.shape[2:]).clamp(min=0)


def upsampled(maps, x, mode=None):
    mode = mode or LINEAR[x.dim() - 2]
    return F.interpolate(maps, size=x.shape[2:], mode=mode, **({} if mode == "nearest" else {"align_corners": False}))


def score_cam(network, x, target, a, baseline):
    large = upsampled(a, x)
    low, high = large.amin(space(a), keepdim=True), large.amax(space(a), keepdim=True)
    weights = torch.zeros(a.shape[:2], dtype=a.dtype)
    for row in range(len(x)):
        kept = [c for c in range(a.shape[1]) if a[row, c].max() > a[row, c].min()]
        masks = torch.stack([(large[row, c] - low[row, c]) / (high[row, c] - low[row, c]) for c in kept])[:, None]
        scores = network(baseline + masks * (x[row] - baseline))[:, target[row]]
        weights[row, kept] = torch.softmax(scores - network(baseline)[0, target[row]], 0)
    return weighted(weights, a)


def ablation_cam(network, x, target, layer, a):
    module = network.get_submodule(layer)
    scores = network(x).gather(1, target[:, None])
    drops = []
    for channel in range(a.shape[1]):
        cut = a.clone()
        cut[:, channel] = 0
        hook = module.register_forward_hook(lambda m, i, o, cut=cut: cut)
        drops.append(scores - network(x).gather(1, target[:, None]))
        hook.remove()
    return weighted(torch.cat(drops, 1) / scores.abs(), a)


def guided_grad_cam(network, x, target, layer, mode):
    guided = references.rectified(network, x, target, "guided-backprop")
    return guided * upsampled(references.grad_cam(network, x, target, layer), x, mode)


def full_gradients(network, x, target):
    """Input-gradient × input, and the terms of each bias: those with space as [n, c, …], the others as [n, …].

    A rectifier that saturates (Clip(0, 6)) has an implicit bias: what is left of its value after slope × input.
    """
    x = x.clone().requires_grad_()
    seen = []
    kinds = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.Linear, nn.ReLU6)
    hooks = [
        m.register_forward_hook(lambda m, i, o: seen.append((m, i[0], o)))
        for m in network.modules()
        if isinstance(m, kinds)
    ]
    logits = network(x)
    for hook in hooks:
        hook.remove()
    score = logits.gather(1, target[:, None]).sum()
    gradients = torch.autograd.grad(score, [x, *(o for _, _, o in seen)])
    terms = []
    for (module, given, output), gradient in zip(seen, gradients[1:]):
        if isinstance(module, nn.ReLU6):
            bias = torch.where(given >= 6, output, 0.0)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            bias = module.bias - module.running_mean * module.weight / torch.sqrt(module.running_var + module.eps)
        elif module.bias is None:
            continue
        else:
            bias = module.bias
        if bias.dim() == 1:
            bias = bias.reshape(1, -1, *[1] * (gradient.dim() - 2))
        terms.append((gradient * bias).detach())
    return (gradients[0] * x).detach(), terms


def saliency(parts, x, rescale, epsilon=0.0):
    """The paper's map: each part's magnitude scaled to 0…1, upsampled, summed over channels and layers."""
    total = torch.zeros(x.shape[0], 1, *x.shape[2:], dtype=x.dtype)
    for part in parts:
        part = part.abs()
        axes = tuple(range(2 if rescale == "channel" else 1, part.dim()))
        part = part - part.amin(axes, keepdim=True)
        high = part.amax(axes, keepdim=True)
        part = torch.where(high > 0, part / torch.where(high > 0, high + epsilon, 1.0), 0.0)
        total += upsampled(part.sum(1, keepdim=True), x)
    return total


def signed(contribution, spatial, x):
    """Every term where it arises, none lost: each map is spread so that its sum stays."""
    total = contribution.sum(1, keepdim=True)
    for part in spatial:
        part = part.sum(1, keepdim=True)
        large = upsampled(part, x) * part[0, 0].numel() / x[0, 0].numel()
        lost = part.sum(space(part), keepdim=True) - large.sum(space(part), keepdim=True)
        total = total + large + lost / x[0, 0].numel()
    return total


def full_grad(network, x, target, form, epsilon=0.0):
    contribution, terms = full_gradients(network, x, target)
    if x.dim() < 3:
        raise ValueError("no space")
    spatial = [t for t in terms if t.dim() == x.dim() and t[0, 0].numel() > 1]
    if form != "signed":
        return saliency([contribution, *spatial], x, form, epsilon)
    flat = sum(t.flatten(1).sum(1) for t in terms if not (t.dim() == x.dim() and t[0, 0].numel() > 1))
    rest = flat.reshape(-1, *[1] * (x.dim() - 1)) / x[0, 0].numel()
    found = signed(contribution, spatial, x) + rest
    score = network(x).gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(found.flatten(1).sum(1), score, rtol=1e-6, atol=1e-6)
    return found


# ---------------------------------------------------------------- the tools


def tool(method, network, x, target, layer):
    """pytorch-grad-cam's map before it is scaled: [n, 1, …]."""
    network = copy.deepcopy(network)
    module = network.get_submodule(layer)
    cam = getattr(pytorch_grad_cam, method)(model=network, target_layers=[module])
    targets = [ClassifierOutputTarget(int(t)) for t in target]
    outputs = cam.activations_and_grads(x)
    sum(t(o) for t, o in zip(targets, outputs)).backward(retain_graph=True)
    a = cam.activations_and_grads.activations[0].numpy()
    g = cam.activations_and_grads.gradients[0].numpy()
    found = cam.get_cam_image(x, module, targets, a, g, False)
    cam.activations_and_grads.release()
    return torch.tensor(np.maximum(found, 0))[:, None]


class AuthorsUpsampling(nn.Module):
    """In place of the tool's upsampling with aligned corners."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)


def compare(what, ours, theirs, tolerance=TOOL):
    ours, theirs = ours.detach().flatten(1).double(), theirs.flatten(1).double()
    far = ((ours - theirs).abs().amax(1) / ours.abs().amax(1).clamp(min=1e-30)).max()
    if not far <= tolerance:
        sys.exit(f"{what}: the tool differs by {far:.1e} of the row's maximum")


def hold_against_tools(name, network, x, target, layer, baseline):
    """Fails where a tool, given the paper's choices, finds another map; how many were compared."""
    a, g = at_layer(network, x, target, layer)
    if a.dim() != 4:
        return 0
    place = f"{name} {layer}"
    compare(f"{place} Grad-CAM++", grad_cam_plus_plus(a, g, 1e-6), tool("GradCAMPlusPlus", network, x, target, layer))
    compare(f"{place} HiResCAM", hires_cam(a, g).clamp(min=0), tool("HiResCAM", network, x, target, layer))
    compare(f"{place} XGrad-CAM", xgrad_cam(a, g, 1e-7), tool("XGradCAM", network, x, target, layer))
    compare(f"{place} LayerCAM", layer_cam(a, g), tool("LayerCAM", network, x, target, layer))
    theirs = torch.tensor(get_2d_projection(a.numpy()))[:, None]  # the tool's sign is the SVD's
    top = theirs.flatten(1).gather(1, theirs.flatten(1).abs().argmax(1, keepdim=True))
    compare(f"{place} EigenCAM", eigen_cam(a, True), (theirs * top.sign()[:, :, None, None]).clamp(min=0))
    plain, nn.UpsamplingBilinear2d = nn.UpsamplingBilinear2d, AuthorsUpsampling
    scored = tool("ScoreCAM", network, x, target, layer)
    nn.UpsamplingBilinear2d = plain
    ours = score_cam(network, x, target, a, torch.zeros_like(x[:1]))
    if ((a.amax(space(a)) > a.amin(space(a))).all()):
        compare(f"{place} ScoreCAM", ours, scored)
    high = [m.flatten(1).amax(1).reshape(-1, 1, 1, 1) for m in (ours, scored)]
    compare(f"{place} ScoreCAM, scaled", ours / high[0], scored / high[1])
    count = 6
    scores = network(x).gather(1, target[:, None])
    if (a.flatten(1).amin(1) == 0).all() and (scores > 0).all():
        compare(f"{place} AblationCAM", ablation_cam(network, x, target, layer, a), tool("AblationCAM", network, x, target, layer))
        count += 1
    if all(isinstance(m, nn.ReLU) for m in network.modules() if isinstance(m, references.RECTIFIERS)):
        for mode in ("bilinear", "nearest"):
            copied = copy.deepcopy(network)
            guided = captum.attr.GuidedGradCam(copied, copied.get_submodule(layer))
            theirs = captum_guided(guided, x, target, mode)
            compare(f"{place} Guided Grad-CAM {mode}", guided_grad_cam(network, x, target, layer, mode), theirs)
            count += 1
    return count


def captum_guided(guided, x, target, mode):
    """Captum's, whose bilinear mode leaves `align_corners` to PyTorch: not aligned."""
    return guided.attribute(x.clone(), target=target, interpolate_mode=mode).detach()


def hold_full_grad_against_tool(name, network, x, target):
    """pytorch-grad-cam's FullGrad sees Conv2d and BatchNorm2d of two dimensions, and no implicit bias."""
    if x.dim() != 4 or any(isinstance(m, nn.ReLU6) for m in network.modules()):
        return 0
    cam = pytorch_grad_cam.FullGrad(model=copy.deepcopy(network), target_layers=[])
    targets = [ClassifierOutputTarget(int(t)) for t in target]
    given = x.clone().requires_grad_()
    outputs = cam.activations_and_grads(given)
    given.retain_grad()
    sum(t(o) for t, o in zip(targets, outputs)).backward()
    theirs = torch.tensor(cam.compute_cam_per_layer(given, targets, False)[:, 0])[:, None]
    cam.activations_and_grads.release()
    compare(f"{name} FullGrad", full_grad(network, x, target, "channel", 1e-7), theirs)
    return 1


def tool_differs():
    """Each difference in numbers to check by hand; fails where a tool no longer has it."""

    def shown(what, ours, theirs, expected_ours, expected_theirs):
        close = np.isclose(float(ours), expected_ours, rtol=1e-3) and np.isclose(float(theirs), expected_theirs, rtol=1e-3)
        if not close:
            sys.exit(f"{what}: {float(ours)} and {float(theirs)}, expected {expected_ours} and {expected_theirs}")

    def weights(method, a, g):
        cam = getattr(pytorch_grad_cam, method).get_cam_weights
        return cam(None, None, None, None, a.numpy(), g.numpy())

    # Two positions, a = (1, 1), g = (1e-3, 1e-3): Σa = 2, α = 1e-6 / (2e-6 + 2e-9), w = 2 · 1e-3 · α = 9.990e-4;
    # with 1e-6 more below, α = 1e-6 / 3.002e-6 and w = 6.662e-4.
    a, g = torch.ones(1, 1, 1, 2).double(), torch.full((1, 1, 1, 2), 1e-3).double()
    shown("Grad-CAM++", grad_cam_plus_plus(a, g).max(), weights("GradCAMPlusPlus", a, g)[0, 0], 9.990e-4, 6.662e-4)
    # a = (1e-7, 0), g = (1, 5): Σ a g / Σ a = 1; with 1e-7 more below 1/2.
    a, g = torch.tensor([[[[1e-7, 0.0]]]]).double(), torch.tensor([[[[1.0, 5.0]]]]).double()
    shown("XGrad-CAM", xgrad_cam(a, g).max() / 1e-7, weights("XGradCAM", a, g)[0, 0], 1.0, 0.5)
    # One channel, a = (1, 3): the paper's projection is (1, 3); less its mean it is (−1, 1), so that the position
    # of the smaller activation counts as much as the larger, with the other sign.
    a = torch.tensor([[[[1.0, 3.0]]]]).double()
    theirs = get_2d_projection(a.numpy())[0, 0]
    shown("EigenCAM", eigen_cam(a, False)[0, 0, 0, 0], abs(theirs[0] / theirs[1]), 1.0, 1.0)
    # A layer a = (1, 2) of two channels and a score of a₀ + 2·a₁ = 5: without channel 0 the score is 4, and the
    # weight (5 − 4) / 5; no value is 0, so the tool puts 1 − 1e7 in place of channel 0, and its weight is 2e6.
    layer = pytorch_grad_cam.ablation_layer.AblationLayer()
    layer.activations_to_be_ablated(np.ones((2, 1, 1)))
    layer.set_next_batch(0, torch.tensor([[[[1.0]], [[2.0]]]]), 1)
    ablated = layer(None)[0, :, 0, 0]
    shown("AblationCAM", (5.0 - 4.0) / 5.0, (5.0 - float(ablated[0] + 2 * ablated[1])) / 5.0, 0.2, 2e6)
    # A score of −2 that falls to −3 without the channel: the channel speaks for the class, by 1/2; divided by the
    # score itself its weight would be −1/2, and its map cut off.
    shown("AblationCAM's sign", (-2 - -3) / abs(-2), (-2 - -3) / -2, 0.5, -0.5)
    # Upsampling (0, 1) to four positions: 0, 1/4, 3/4, 1; with corners aligned 0, 1/3, 2/3, 1.
    a = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    theirs = nn.UpsamplingBilinear2d(size=(2, 4))(a)[0, 0, 0, 1]
    shown("ScoreCAM", upsampled(a, torch.zeros(1, 1, 2, 4))[0, 0, 0, 1], theirs, 0.25, 1 / 3)


# ---------------------------------------------------------------- files


def cases(spec, network):
    found = []

    def case(key, method, settings=None, layer=None, baseline=None):
        entry = {"key": key, "method": method, "settings": settings or {}}
        found.append(entry | ({"layer": layer} if layer else {}) | ({"baseline": baseline} if baseline else {}))

    if spec.name in NETWORKS:
        for layer in spec.layers:
            for method in ("grad-cam-plus-plus", "hires-cam", "xgrad-cam", "layer-cam", "ablation-cam"):
                case(f"{method}:{layer}", method, layer=layer)
            case(f"score-cam:{layer}:zero", "score-cam", layer=layer, baseline="zero")
            case(f"score-cam:{layer}:given", "score-cam", layer=layer, baseline="baseline")
            for centre in ("no", "yes"):
                case(f"eigen-cam:{layer}:{centre}", "eigen-cam", {"centre": centre}, layer)
            if {type(m) for m in network.modules()} & set(references.RECTIFIERS):
                for mode in ("linear", "nearest"):
                    case(f"guided-grad-cam:{layer}:{mode}", "guided-grad-cam", {"interpolation": mode}, layer)
    if spec.name in RECTIFIERS_ONLY and len(spec.shape) > 1:
        for form in ("channel", "layer", "signed"):
            settings = {"form": "signed"} if form == "signed" else {"form": "saliency", "rescale": form}
            case(f"full-grad:{form}", "full-grad", settings)
            # Folding joins the bias of a convolution and of its BatchNorm: the magnitude of a sum is not the sum of
            # magnitudes.
            if form != "signed" and spec.name in BIASED:
                found[-1]["unfolded_only"] = True
    return found


def attribution(network, case, x, target, baseline):
    """The array of a case."""
    return mapped(network, case, x, target, baseline).detach()


def mapped(network, case, x, target, baseline):
    method, layer = case["method"], case.get("layer")
    if method == "full-grad":
        return full_grad(network, x, target, case["settings"].get("rescale", "signed"))
    if method == "guided-grad-cam":
        mode = case["settings"]["interpolation"]
        return guided_grad_cam(network, x, target, layer, None if mode == "linear" else mode)
    a, g = at_layer(network, x, target, layer)
    if method == "ablation-cam":
        return ablation_cam(network, x, target, layer, a)
    if method == "score-cam":
        start = baseline if case["baseline"] == "baseline" else torch.zeros_like(baseline)
        return score_cam(network, x, target, a, start)
    if method == "eigen-cam":
        return eigen_cam(a, case["settings"]["centre"] == "yes")
    formula = {"grad-cam-plus-plus": grad_cam_plus_plus, "hires-cam": hires_cam, "xgrad-cam": xgrad_cam}
    return formula.get(method, layer_cam)(a, g)


def alive(found):
    rows = found.flatten(1)
    return (rows.abs().amax(1) > 1e-4) & (rows.amax(1) - rows.amin(1) > 1e-4 * rows.abs().amax(1))


def chosen(network, case, x, target, baseline, classes):
    """For each row the first class, from its own on, that leaves the map alive; None where there is none."""
    picked = torch.full_like(target, -1)
    for step in range(classes):
        candidate = (target + step) % classes
        found = alive(attribution(network, case, x, candidate, baseline))
        picked = torch.where((picked < 0) & found, candidate, picked)
    return None if (picked < 0).any() else picked


def written(spec, entry):
    """Writes a network's arrays; its entry for the index."""
    network, inputs = generate.draw(spec, entry["seed"])
    stored = np.load(HERE / entry["arrays"])
    if not np.array_equal(stored["input"].astype(np.float32), inputs["input"].numpy()):
        sys.exit(f"{spec.name}: the draw of its seed is not the stored one")
    network = generate.explained(network)
    double = copy.deepcopy(network).double()
    x, baseline = inputs["input"].double(), inputs["baseline"].double()
    target = torch.tensor(stored["target"])
    arrays, kept, left, compared = {}, [], [], 0
    for case in cases(spec, network):
        aimed = chosen(double, case, x, target, baseline, stored["logits"].shape[1])
        if aimed is None:
            left.append(f"{case['key']} (zero or constant for every class)")
            continue
        found = attribution(double, case, x, aimed, baseline)
        single = attribution(network, case, inputs["input"], aimed, inputs["baseline"])
        rounding = generate.deviation(single.numpy(), found.numpy())
        if rounding > generate.ROUNDING:
            left.append(f"{case['key']} (float32 differs by {rounding:.0e})")
            continue
        arrays[case["key"]] = found.numpy()
        if not torch.equal(aimed, target):
            arrays[f"{case['key']}:target"] = aimed.numpy()
            case["target"] = f"{case['key']}:target"
        kept.append(case)
    if spec.name in NETWORKS:
        for layer in spec.layers:
            compared += hold_against_tools(spec.name, double, x, target, layer, baseline)
    if spec.name in RECTIFIERS_ONLY and len(spec.shape) > 1:
        compared += hold_full_grad_against_tool(spec.name, double, x, target)
    file = f"{spec.name}.cam.npz"
    np.savez_compressed(HERE / file, **arrays)
    if (HERE / file).stat().st_size > generate.FILE_LIMIT:
        sys.exit(f"{file} is larger than {generate.FILE_LIMIT} bytes")
    print(f"{spec.name}: {len(kept)} cases, {compared} held against tools; left out: {', '.join(left) or 'none'}", flush=True)
    return {"name": spec.name, "arrays": file, "cases": kept}


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    tool_differs()
    index = {e["name"]: e for e in json.loads((HERE / "index.json").read_text())["networks"]}
    wanted = [spec for spec in SPECS if spec.name in NETWORKS or spec.name in RECTIFIERS_ONLY and len(spec.shape) > 1]
    entries = [written(spec, index[spec.name]) for spec in wanted]
    counts = {}
    for case in [case for entry in entries for case in entry["cases"]]:
        counts[case["method"]] = counts.get(case["method"], 0) + 1
    print(counts)
    if min(counts.values()) < 8:
        sys.exit("a method has fewer than 8 cases")
    versions = {p: importlib.metadata.version(p) for p in ("torch", "captum", "grad-cam", "numpy")}
    (HERE / "cam.json").write_text(json.dumps({"versions": versions, "networks": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
