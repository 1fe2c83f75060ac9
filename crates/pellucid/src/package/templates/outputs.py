"""Runs the file on a picture: python run.py PICTURE (needs numpy, pillow and onnxruntime)."""

import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{{FILE}}", providers=["CPUExecutionProvider"])
picture = np.asarray(Image.open(sys.argv[1]).convert("RGB"))  # uint8 [height, width, 3]
for output, value in zip(session.get_outputs(), session.run(None, {"{{IMAGE}}": picture[None]})):
    print(output.name, value.shape, value.ravel()[:5])
