"""Rebuilds a graph in PyTorch and times it whenever standard input asks.

Reads graph.json and tensors.npz in the folder given, prints what it can do as
JSON, then answers each line "LAYOUT COUNT" with the seconds that COUNT training
steps (or forward passes) took.
"""

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

folder = sys.argv[1]
with open(folder + "/graph.json") as f:
    g = json.load(f)
torch.set_num_threads(g["threads"])
torch.manual_seed(0)
arrays = np.load(folder + "/tensors.npz")
constants = {name: torch.from_numpy(arrays[str(i)]) for name, i in g["tensors"].items()}
training = g["what"] == "step"


def padded(x, attrs, value=0.0):
    """Pads as ONNX says, all begins before all ends; returns what the op itself can pad."""
    n = x.dim() - 2
    pads = attrs.get("pads") or [0] * (2 * n)
    begin, end = pads[:n], pads[n:]
    if begin == end:
        return x, begin
    flat = [p for b, e in zip(reversed(begin), reversed(end)) for p in (b, e)]
    return F.pad(x, flat, value=value), [0] * n


def conv(a, x, w, b=None):
    n = x.dim() - 2
    x, pads = padded(x, a)
    op = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n]
    return op(x, w, b, a.get("strides", [1] * n), pads, a.get("dilations", [1] * n), a.get("group", 1))


def gemm(a, x, w, b=None):
    x = x.t() if a.get("transA") else x
    if a.get("transB") and b is not None and a.get("alpha", 1) == 1 and a.get("beta", 1) == 1:
        return F.linear(x, w, b)
    y = a.get("alpha", 1) * (x @ (w.t() if a.get("transB") else w))
    return y if b is None else y + a.get("beta", 1) * b


def batch_norm(a, x, scale, shift, mean, var):
    momentum = 1 - a.get("momentum", 0.9)
    return F.batch_norm(x, mean, var, scale, shift, training, momentum, a.get("epsilon", 1e-5))


def max_pool(a, x):
    x, pads = padded(x, a, float("-inf"))
    n = x.dim() - 2
    op = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[n]
    return op(x, a["kernel_shape"], a.get("strides", [1] * n), pads, a.get("dilations", [1] * n), bool(a.get("ceil_mode", 0)))


def average_pool(a, x):
    n = x.dim() - 2
    pads = (a.get("pads") or [0] * n)[:n]
    op = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[n]
    return op(x, a["kernel_shape"], a.get("strides", [1] * n), pads, bool(a.get("ceil_mode", 0)), bool(a.get("count_include_pad", 0)))


def reshape(a, x, shape):
    target = [x.shape[i] if d == 0 and not a.get("allowzero", 0) else d for i, d in enumerate(shape.tolist())]
    return x.reshape(target)


def reduce_mean(a, x, axes=None):
    axes = a.get("axes") if axes is None else axes.tolist()
    return x.mean(axes, keepdim=bool(a.get("keepdims", 1)))


def clip(a, x, low=None, high=None):
    low = a.get("min") if low is None else float(low)
    high = a.get("max") if high is None else float(high)
    return x.clamp(low, high)


OPS = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": lambda a, x, y: x @ y,
    "BatchNormalization": batch_norm,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": lambda a, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Reshape": reshape,
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "ReduceMean": reduce_mean,
    "Clip": clip,
    "Relu": lambda a, x: F.relu(x),
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "Sigmoid": lambda a, x: x.sigmoid(),
    "Tanh": lambda a, x: x.tanh(),
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
    "Add": lambda a, x, y: x + y,
    "Sub": lambda a, x, y: x - y,
    "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x / y,
    "Identity": lambda a, x: x,
    "Dropout": lambda a, x, *rest: F.dropout(x, 0.5, training),
}

missing = sorted({n["op"] for n in g["nodes"]} - set(OPS))
if missing:
    sys.exit("no counterpart in PyTorch is known for " + ", ".join(missing))


class Net:
    """The graph with parameters of its own, in one memory layout."""

    def __init__(self, layout):
        def own(t):
            t = t.clone()
            if layout == "channels_last" and t.dim() == 4:
                t = t.to(memory_format=torch.channels_last)
            return t

        self.values = {name: own(t) for name, t in constants.items()}
        trained = [self.values[name].requires_grad_() for name in g["train"] if name in self.values]
        self.x = own(torch.from_numpy(arrays["x"]))
        self.y = torch.zeros(len(self.x), dtype=torch.int64)
        self.optimizer = torch.optim.SGD(trained, lr=1e-4, momentum=0.9, weight_decay=5e-4)

    def forward(self):
        v = dict(self.values)
        v[g["input"]] = self.x
        for n in g["nodes"]:
            v[n["outputs"][0]] = OPS[n["op"]](n["attrs"], *(v[i] if i else None for i in n["inputs"]))
        return v[g["output"]]

    def run(self):
        if not training:
            with torch.no_grad():
                self.forward()
            return
        self.optimizer.zero_grad()
        F.cross_entropy(self.forward(), self.y).backward()
        self.optimizer.step()


layouts = ["nchw"]
if arrays["x"].ndim == 4 and any(n["op"] == "Conv" for n in g["nodes"]):
    layouts.append("channels_last")
nets = {layout: Net(layout) for layout in layouts}
print(json.dumps({"version": torch.__version__.split("+")[0], "layouts": layouts}), flush=True)
for line in sys.stdin:
    layout, count = line.split()
    net = nets[layout]
    start = time.perf_counter()
    for _ in range(int(count)):
        net.run()
    print(time.perf_counter() - start, flush=True)
