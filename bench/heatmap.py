"""From a photograph to a heatmap by Captum: what `pellucid explain MODEL PHOTOGRAPH --method METHOD -o HEAT` does.

    python heatmap.py FOLDER NETWORK METHOD PHOTOGRAPH HEAT
"""

import os
import sys

import numpy as np
import torch
from captum import attr
from PIL import Image

import networks


def attribution(name, network, method, x, target):
    """float32 [height, width]: what the method says, summed over the channels."""
    if method == "gradient":
        found = attr.Saliency(network).attribute(x, target=target, abs=False)
    elif method == "integrated-gradients":
        found = attr.IntegratedGradients(network).attribute(x, target=target, n_steps=50, internal_batch_size=8)
    else:
        layer, of_input = networks.grad_cam_layer(name, network)
        found = attr.LayerGradCam(network, layer).attribute(
            x, target=target, attribute_to_layer_input=of_input, relu_attributions=True
        )
        found = attr.LayerAttribution.interpolate(found, x.shape[2:], interpolate_mode="bilinear")
    return found.detach()[0].sum(0).numpy()


def overlay(photograph, heat):
    """The photograph in grey under red for positive and blue for negative values."""
    limit = np.percentile(np.abs(heat), 99) or 1.0
    share = np.clip(heat / limit, -1, 1)[..., None]
    grey = np.repeat(photograph.mean(2, keepdims=True), 3, 2)
    colour = np.where(share > 0, [220.0, 30.0, 30.0], [30.0, 60.0, 220.0])
    strength = 0.8 * np.abs(share)
    return Image.fromarray((grey * (1 - strength) + colour * strength).astype(np.uint8))


def main():
    folder, name, method, photograph, heat = sys.argv[1:]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    network = networks.load(name, folder)
    x = torch.from_numpy(networks.prepared(name, photograph))
    with torch.no_grad():
        target = int(network(x).argmax())
    values = attribution(name, network, method, x, target)
    overlay(networks.pixels(photograph), values).save(heat)


if __name__ == "__main__":
    main()
