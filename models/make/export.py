"""Exports with both of PyTorch's exporters, and the check of a file against the network it came from."""

import os
import re
import warnings

import numpy as np
import onnx
import onnxruntime
import torch

BATCH = "batch"


def torchscript(model, x, path, opset=17, fold=False, training=False, dynamic=True, named=True, **options):
    """Writes model with the TorchScript exporter (dynamo=False).

    fold leaves constant folding on, as a plain call does; named=False leaves the names of
    inputs and outputs to the exporter.
    """
    if named:
        options |= {"input_names": ["input"], "output_names": ["logits"]}
    if dynamic:
        options["dynamic_axes"] = {"input": {0: BATCH}, "logits": {0: BATCH}}
    mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.train(training), (x,), path, dynamo=False, opset_version=opset,
            do_constant_folding=fold, training=mode, **options,
        )
    model.eval()


def dynamo(model, x, path, opset=20, training=False, dynamic=True, external_data=False, traces=True, **options):
    """Writes model with the exporter that is the default today (dynamo=True).

    traces=False removes the stack traces, which are the larger part of a small file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.train(training), (x,), path, dynamo=True, opset_version=opset, external_data=external_data,
            dynamic_shapes=({0: BATCH},) if dynamic else None, verbose=False, **options,
        )
    model.eval()
    edit_stack_traces(path, traces)


def edit_stack_traces(path, keep):
    """Keeps only the file names in the stack traces that the exporter stores as node metadata, or removes them.

    The traces hold the absolute paths of whoever exported; nothing else of the file changes.
    """
    model = onnx.load(path, load_external_data=False)
    edit_graph(model.graph, keep)
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def edit_graph(graph, keep):
    """Does that in a graph and in the bodies of its nodes."""
    for node in graph.node:
        for i, entry in reversed(list(enumerate(node.metadata_props))):
            if not entry.key.endswith("stack_trace"):
                continue
            if keep:
                entry.value = re.sub(r'File "[^"]*/([^/"]+)"', r'File "\1"', entry.value)
            else:
                del node.metadata_props[i]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                edit_graph(attribute.g, keep)


def run(path, x):
    """The first output of ONNX Runtime on CPU for the first input x."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def check(path, model, inputs, tolerance=1e-5):
    """Fails unless onnx.checker accepts path and ONNX Runtime gives the network's outputs for every input.

    The network runs in evaluation mode; the tolerance is relative to the largest output.
    Returns the outputs of ONNX Runtime.
    """
    onnx.checker.check_model(path, full_check=True)
    outputs = [run(path, x) for x in inputs]
    for x, got in zip(inputs, outputs):
        with torch.no_grad():
            want = model.eval()(torch.from_numpy(x)).numpy()
        error = np.abs(got - want).max() / max(1.0, np.abs(want).max())
        if not error <= tolerance:
            raise SystemExit(f"{os.path.basename(path)}: ONNX Runtime differs from PyTorch by {error:.2g}")
    return outputs
