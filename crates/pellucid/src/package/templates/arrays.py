"""Runs the file on an .npz whose keys are the names of its inputs: python run.py ARRAYS.npz."""

import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{{FILE}}", providers=["CPUExecutionProvider"])
inputs = dict(np.load(sys.argv[1]))
for output, value in zip(session.get_outputs(), session.run(None, inputs)):
    print(output.name, value.shape, value.ravel()[:5])
