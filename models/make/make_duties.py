"""Makes testdata/duties: one small file for each thing that an importer has to undo or handle.

    python make_duties.py

<case>.onnx is an export of a tiny network; <case>.npz holds inputs x<batch> and ONNX Runtime's outputs y<batch>, both
in the file's own types; manifest.json says what each file shows.
"""

import json
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import weight_norm
from torch.nn.utils.parametrizations import weight_norm as parametrized

import export
import fashion_mnist
from families import CausalLM, Recurrent

FOLDER = fashion_mnist.FOLDER.parent / "duties"
BATCHES = (3, 5)


def images(n):
    return torch.randn(n, 2, 6, 6)


def features(n):
    return torch.randn(n, 5, 8)


def tokens(n):
    return torch.randint(1, 50, (n, 12))


class Head(nn.Module):
    """A body between a convolution and a linear layer."""

    def __init__(self, *body, norm=False, bias=True):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=bias)
        self.bn = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.body = nn.Sequential(*body)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = self.body(F.relu(self.bn(self.conv(x))))
        return self.fc(x.mean((2, 3)))


class WeightNorm(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.conv, self.fc = wrap(nn.Conv2d(2, 4, 3)), wrap(nn.Linear(64, 3))

    def forward(self, x):
        return self.fc(torch.flatten(F.relu(self.conv(x)), 1))


class Attention(nn.Module):
    """torchvision's way with one projection; timm's way when split."""

    def __init__(self, split=False):
        super().__init__()
        self.split = split
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.qkv, self.proj, self.fc = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        if not self.split:
            return self.fc(self.attention(x, x, x, need_weights=False)[0].mean(1))
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d)
        return self.fc(self.proj(x).mean(1))


class Token(nn.Module):
    """A class token in front of the sequence, and a mixing layer."""

    def __init__(self):
        super().__init__()
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 6, 8))
        self.mlp, self.fc = nn.Sequential(nn.Linear(8, 8), nn.GELU()), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.fc(self.mlp(x)[:, 0])


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj, self.fc = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(torch.tanh(self.proj(x)).mean(1))


class StochasticDepth(nn.Module):
    def forward(self, x):
        keep = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(0.8) / 0.8
        return x + F.relu(x) * keep


def ts(model, x, path, opset=17, fold=True, training=False, axes=(0,), **options):
    options |= {"input_names": ["input"], "output_names": ["output"], "do_constant_folding": fold, "opset_version": opset}
    options["training"] = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    if axes:
        options["dynamic_axes"] = {"input": {i: ("batch", "sequence")[i] for i in axes}, "output": {0: "batch"}}
    torch.onnx.export(model.train(training), (x,), str(path), dynamo=False, **options)


def dyn(model, x, path, opset=20, training=False, axes=(0,), **options):
    shapes = {i: torch.export.Dim(("batch", "sequence")[i]) for i in axes}
    torch.onnx.export(
        model.train(training), (x,), str(path), dynamo=True, opset_version=opset, external_data=False, verbose=False,
        dynamic_shapes=(shapes,) if axes else None, **options,
    )
    export.edit_stack_traces(str(path), keep=False)


CASES = {
    # name: (what it shows, network, inputs, exporter, settings)
    "ceil-mode": ("attributes with default values; ceil_mode=1", lambda: Head(nn.MaxPool2d(3, 2, ceil_mode=True)), images, dyn, {}),
    "bn-folded-ts": ("batch normalisation folded", lambda: Head(norm=True), images, ts, {}),
    "bn-folded-dyn": ("batch normalisation folded", lambda: Head(norm=True), images, dyn, {}),
    "bn-training": ("batch normalisation in training mode", lambda: Head(norm=True), images, ts, {"training": True, "fold": False}),
    "dropout": ("dropout in a training export", lambda: Head(nn.Dropout(0.3)), images, ts, {"training": True, "fold": False}),
    "dropout-parts": ("stochastic depth as random numbers", lambda: Head(StochasticDepth()), images, dyn, {}),
    "weight-norm-ts": ("weights behind weight normalisation", lambda: WeightNorm(weight_norm), images, ts, {"fold": False}),
    "weight-norm-dyn": ("weights behind weight normalisation", lambda: WeightNorm(parametrized), images, dyn, {"optimize": False}),
    "linear-3d-ts": ("a transposed linear layer without its name", lambda: Token(), features, ts, {}),
    "linear-3d-dyn": ("a transposed linear layer without its name", lambda: Token(), features, dyn, {}),
    "class-token-fixed": ("a class token that the exporter expanded to a fixed batch", Token, features, dyn, {"axes": ()}),
    "qkv-ts": ("one projection for query, key and value", Attention, features, ts, {}),
    "qkv-dyn": ("one projection for query, key and value", Attention, features, dyn, {}),
    "qkv-split-ts": ("one projection for query, key and value", lambda: Attention(True), features, ts, {}),
    "qkv-split-dyn": ("one projection for query, key and value", lambda: Attention(True), features, dyn, {}),
    "attention-23": ("the Attention operator, causal", CausalLM, tokens, dyn, {"opset": 23}),
    "tied": ("an output layer that is the transposed embedding", CausalLM, tokens, dyn, {}),
    "group-norm": ("ones and zeros that stand in for a group normalisation", lambda: Head(nn.GroupNorm(2, 4)), images, ts, {}),
    "lstm-ts": ("gates", lambda: Recurrent(nn.LSTM), tokens, ts, {}),
    "lstm-dyn": ("gates that the file puts into ONNX's order", lambda: Recurrent(nn.LSTM), tokens, dyn, {"optimize": False}),
    "bilstm-dyn": ("gates of two directions", lambda: Recurrent(nn.LSTM, bidirectional=True), tokens, dyn, {}),
    "gru-ts": ("gates", lambda: Recurrent(nn.GRU), tokens, ts, {}),
    "zero-bias": ("a missing bias written as zeros of the weight's extent", lambda: Head(bias=False), images, dyn, {"optimize": False}),
    "chunk": ("a chunk as a sequence", lambda: Head(Chunk()), images, dyn, {"optimize": False}),
    "sequence-length": ("a second dynamic axis", Sequence, features, dyn, {"axes": (0, 1)}),
    "data-parallel": ("names that begin with module.", lambda: Wrapped(Head()), images, ts, {}),
    "functions": ("modules as local functions", lambda: Head(), images, ts, {"export_modules_as_functions": {nn.Conv2d}}),
    "half": ("weights, inputs and outputs in float16", lambda: Head().half(), lambda n: images(n).half(), ts, {}),
}


class Chunk(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat([b, F.relu(a)], 1)


class Wrapped(nn.Module):
    """What is left of DataParallel on one device: its prefix."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


def disturb(model):
    """No parameter keeps a value that others have too."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.2)
                m.running_var.uniform_(0.5, 1.5)


def store_half(path, to, element):
    """A copy of a file whose weights are stored in half precision, each with a Cast to float32 behind it."""
    model = onnx.load(path)
    casts = []
    for i, t in enumerate(model.graph.initializer):
        values = numpy_helper.to_array(t)
        if t.data_type != TensorProto.FLOAT or values.ndim == 0:
            continue
        name, stored = t.name, t.name + ".stored"
        bits = values.astype(np.float16).view(np.uint16) if element == TensorProto.FLOAT16 else (values.view(np.uint32) >> 16).astype(np.uint16)
        model.graph.initializer[i].CopyFrom(helper.make_tensor(stored, element, values.shape, bits.tobytes(), raw=True))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    onnx.save(model, to)


def record(path, inputs, entry):
    """Runs the file and stores its data; returns the manifest entry."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    arrays = {}
    for x in inputs:
        arrays[f"x{len(x)}"] = x
        arrays[f"y{len(x)}"] = session.run(None, {session.get_inputs()[0].name: x})[0]
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    return {"file": path.name, **entry, "batches": [len(x) for x in inputs]}


def main():
    warnings.simplefilter("ignore")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    entries = []
    for name, (shows, build, make_inputs, exporter, settings) in CASES.items():
        torch.manual_seed(3)
        model = build()
        disturb(model)
        batches = BATCHES if settings.get("axes") != () else BATCHES[:1]
        inputs = [make_inputs(n) for n in batches]
        path = FOLDER / f"{name}.onnx"
        exporter(model, inputs[0], path, **settings)
        entry = {"shows": shows, "random": name == "dropout-parts", "training": name == "bn-training"}
        entries.append(record(path, [x.numpy() for x in inputs], entry))
        print(name, path.stat().st_size, flush=True)
        if name == "bn-folded-ts":
            for kind, element in (("float16", TensorProto.FLOAT16), ("bfloat16", TensorProto.BFLOAT16)):
                stored = FOLDER / f"stored-{kind}.onnx"
                store_half(path, stored, element)
                entries.append(record(stored, [x.numpy() for x in inputs], entry | {"shows": f"weights stored in {kind}"}))
    manifest = {"torch": torch.__version__.split("+")[0], "files": entries}
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
