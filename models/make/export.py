"""Exports with both of PyTorch's exporters, and the check of a file against the network it came from."""

import os
import re
import warnings

import numpy as np
import onnx
import onnxruntime
import torch

BATCH = "batch"


def torchscript(model, x, path, opset=17, fold=False, training=False, dynamic=True, **options):
    """Writes model with the TorchScript exporter (dynamo=False)."""
    mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.train(training), (x,), path, dynamo=False, opset_version=opset,
            do_constant_folding=fold, training=mode, input_names=["input"], output_names=["logits"],
            dynamic_axes={"input": {0: BATCH}, "logits": {0: BATCH}} if dynamic else None, **options,
        )
    model.eval()


def dynamo(model, x, path, opset=20, dynamic=True, external_data=False, **options):
    """Writes model with the exporter that is the default today (dynamo=True)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (x,), path, dynamo=True, opset_version=opset, external_data=external_data,
            dynamic_shapes=({0: BATCH},) if dynamic else None, verbose=False, **options,
        )
    shorten_source_paths(path)


def shorten_source_paths(path):
    """Keeps only the file names in the stack traces that the exporter stores as node metadata.

    The traces hold the absolute paths of whoever exported; nothing else of the file changes.
    """
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        for entry in node.metadata_props:
            entry.value = re.sub(r'File "[^"]*/([^/"]+)"', r'File "\1"', entry.value)
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def run(path, x):
    """The first output of ONNX Runtime on CPU for the first input x."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def check(path, model, inputs, tolerance=1e-5):
    """Fails unless onnx.checker accepts path and ONNX Runtime gives the network's outputs for every input.

    The tolerance is relative to the largest output. Returns the outputs of ONNX Runtime.
    """
    onnx.checker.check_model(path, full_check=True)
    outputs = []
    for x in inputs:
        with torch.no_grad():
            want = model.eval()(torch.from_numpy(x)).numpy()
        got = run(path, x)
        error = np.abs(got - want).max() / max(1.0, np.abs(want).max())
        if not error <= tolerance:
            raise SystemExit(f"{os.path.basename(path)}: ONNX Runtime differs from PyTorch by {error:.2g}")
        outputs.append(got)
    return outputs
