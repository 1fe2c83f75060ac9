"""Names a picture: python classify.py PICTURE (needs numpy, pillow and onnxruntime)."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{{FILE}}", providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map.get("pellucid.labels", "[]"))

picture = np.asarray(Image.open(sys.argv[1]).convert("RGB"))  # uint8 [height, width, 3]
names = [output.name for output in session.get_outputs()]
outputs = dict(zip(names, session.run(None, {"{{IMAGE}}": picture[None]})))

probabilities = outputs["probabilities"][0]
for index in np.argsort(-probabilities)[:5]:
    name = labels[index] if index < len(labels) else f"class {index}"
    print(f"{probabilities[index]:8.4f}  {name}")
