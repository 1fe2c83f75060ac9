"""Captum and Zennit on PyTorch, one command a line: the other side of the race.

    python rival.py FOLDER

Reads JSON commands from standard input and answers each with one line of JSON. `src/worker.rs` takes the same
commands. `load`: a network, a layout, threads. `run`: a method over the first rows of the inputs, with what to save.
`memory`: the peak of this process. `versions`.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path


def answer(**fields):
    print(json.dumps(fields), flush=True)


class Rival:
    """A network with what the methods need."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.seen = None
        # What undoes what a method did to the network.
        self.restore = None

    def load(self, command):
        import numpy
        import torch

        import networks

        torch.set_num_threads(command["threads"])
        self.name = command["model"]
        network = networks.load(self.name, self.folder)
        last = command["layout"] == "channels last"
        self.format = torch.channels_last if last else torch.contiguous_format
        self.network = network.to(memory_format=self.format)
        self.type = torch.float32
        self.inputs = torch.from_numpy(numpy.load(self.folder / f"{self.name}.npy"))
        answer(done="load")

    def double(self):
        """The same network in float64, for the reference."""
        import torch

        self.network, self.inputs, self.type = self.network.double(), self.inputs.double(), torch.float64

    def rounded(self, seed, folded):
        """The same network, every parameter off by about a rounding.

        As exporters' folding of BatchNorm does: what float32 leaves of such a network is no less right. For methods that
        look for no module of it, normalisations are folded as well (`folded`): sums are then rounded as they are in the
        file, which decides between elements of a pooling's window that are equal but for rounding.
        """
        import copy

        import torch

        from torch.fx.experimental.optimization import fuse

        network = fuse(self.network).requires_grad_(False) if folded else copy.deepcopy(self.network)
        generator = torch.Generator().manual_seed(seed)
        for parameter in network.parameters():
            factor = 1 + 2.0**-24 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(parameter.double() * factor)
        return network

    def scores(self, x):
        """The network; what it is given is kept while somebody wants to know the points."""
        if self.seen is not None:
            self.seen.append(x.detach().clone())
        return self.network(x)

    def method(self, command, x, target):
        """A function that computes the attribution, and how often it evaluates the network for a row."""
        import torch
        from captum import attr

        import networks

        settings, rows, chunk = command.get("settings", {}), len(x), command.get("chunk", 1)
        if command["method"] == "forward":

            def forward():
                with torch.no_grad():
                    return self.network(x)

            return forward, 1
        if command["method"] == "gradient":
            return lambda: attr.Saliency(self.scores).attribute(x, target=target, abs=False), 1
        if command["method"] == "integrated-gradients":
            steps = settings["steps"]
            ig = attr.IntegratedGradients(self.scores)
            return (
                lambda: ig.attribute(
                    x,
                    baselines=torch.zeros_like(x),
                    target=target,
                    n_steps=steps,
                    method="gausslegendre",
                    internal_batch_size=max(chunk, rows),
                ),
                steps,
            )
        if command["method"] == "smoothgrad":
            samples = settings["samples"]
            if command.get("noise"):
                return lambda: self.smoothed(x, target, command["noise"]), samples
            deviation = settings["noise"] * float(x[0].max() - x[0].min())
            tunnel = attr.NoiseTunnel(attr.Saliency(self.scores))
            return (
                lambda: tunnel.attribute(
                    x,
                    nt_type="smoothgrad",
                    nt_samples=samples,
                    nt_samples_batch_size=max(1, chunk // rows),
                    stdevs=deviation,
                    target=target,
                    abs=False,
                ),
                samples,
            )
        if command["method"] == "grad-cam":
            layer, of_input = networks.grad_cam_layer(self.name, self.network)
            cam = attr.LayerGradCam(self.scores, layer)
            return (
                lambda: cam.attribute(
                    x, target=target, attribute_to_layer_input=of_input, relu_attributions=True
                ),
                1,
            )
        if command["method"] == "occlusion":
            window, stride = settings["window"], settings["stride"]
            occlusion = attr.Occlusion(self.scores)

            def occlude():
                with torch.no_grad():
                    return occlusion.attribute(
                        x,
                        sliding_window_shapes=(3, window, window),
                        strides=(3, stride, stride),
                        baselines=0,
                        target=target,
                        perturbations_per_eval=max(1, chunk // rows),
                    )

            count = 1 + -(-(x.shape[2] - window) // stride)
            return occlude, count * count
        if command["method"] == "deeplift":
            # Captum refuses a module that is called twice, as torchvision's rectifiers are.
            lift = attr.DeepLift(networks.unshared(self.network))
            return lambda: lift.attribute(x, baselines=torch.zeros_like(x), target=target), 1
        if command["method"] == "lrp-epsilon-plus":
            return self.propagated(x, target, settings["epsilon"]), 1
        raise ValueError(command["method"])

    def propagated(self, x, target, epsilon):
        """Zennit's composite; its hooks and the folded normalisations are set up before the time is taken."""
        import torch
        from zennit.attribution import Gradient
        from zennit.composites import EpsilonPlus
        from zennit.torchvision import ResNetCanonizer

        attributor = Gradient(self.network, EpsilonPlus(epsilon=epsilon, canonizers=[ResNetCanonizer()]))
        attributor.__enter__()
        self.restore = lambda: attributor.__exit__(None, None, None)
        one_hot = torch.nn.functional.one_hot(target, 1000).to(x.dtype)
        return lambda: attributor(x, lambda logits: logits * one_hot)[1]

    def smoothed(self, x, target, path):
        """The mean gradient at `x` with each sample of a file's noise."""
        import numpy
        import torch
        from captum import attr

        noise = torch.from_numpy(numpy.load(path)).to(x.dtype)
        saliency = attr.Saliency(self.network)
        return sum(saliency.attribute(x + sample, target=target, abs=False) for sample in noise) / len(noise)

    def run(self, command):
        import numpy
        import torch

        if command.get("double") and self.type is not torch.float64:
            self.double()
        network = self.network
        if command.get("rounded"):
            self.network = self.rounded(command["rounded"], command["method"] == "deeplift")
        rows = command["rows"]
        x = self.inputs[:rows].to(memory_format=self.format)
        target = torch.tensor(command["targets"][:rows])
        torch.manual_seed(0)
        self.seen = [] if command.get("points") else None
        attribute, evaluations = self.method(command, x, target)
        start = time.perf_counter()
        found = attribute()
        seconds = time.perf_counter() - start
        if self.restore is not None:
            self.restore()
            self.restore = None
        fields = {}
        if self.seen is not None:
            self.save_noise(command["points"], x)
        if command.get("save"):
            numpy.save(command["save"], found.detach().to(torch.float32).contiguous().numpy())
        if command.get("totals"):
            with torch.no_grad():
                scores = self.network(x).gather(1, target[:, None])[:, 0]
                starts = self.network(torch.zeros_like(x)).gather(1, target[:, None])[:, 0]
            flat = found.detach().double().flatten(1)
            fields["score"], fields["baseline_score"] = scores.tolist(), starts.tolist()
            fields["gap"] = ((scores - starts).double() - flat.sum(1)).tolist()
            fields["norm"] = flat.abs().sum(1).tolist()
        self.network = network
        answer(done="run", seconds=seconds, evaluations=evaluations, **fields)

    def save_noise(self, path, x):
        """What was added to every row: [samples, rows, …], from the points that the network was given."""
        import numpy
        import torch

        rows = len(x)
        points = torch.cat(self.seen)
        points = points.reshape(-1, rows, *x.shape[1:]) if rows == 1 else self.by_sample(points, rows)
        numpy.save(path, (points - x).to(torch.float32).contiguous().numpy())
        self.seen = None

    def by_sample(self, points, rows):
        """Captum repeats each row for the samples of a call, rows outermost."""
        import torch

        parts = []
        for call in torch.split(points, [len(part) for part in self.seen]):
            parts.append(call.reshape(rows, -1, *call.shape[1:]).transpose(0, 1))
        return torch.cat(parts)


def versions():
    import importlib.metadata

    import torch

    found = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "captum", "zennit", "numpy")}
    found["python"] = ".".join(map(str, sys.version_info[:3]))
    found["cpu capability"] = torch.backends.cpu.get_cpu_capability()
    return found


def peak():
    """The peak of this process's resident memory, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    rival = Rival(sys.argv[1])
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "memory":
                answer(done="memory", bytes=peak())
            elif command["do"] == "versions":
                answer(done="versions", **versions())
            else:
                getattr(rival, command["do"])(command)
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main()
