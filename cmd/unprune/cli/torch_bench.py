"""Rebuilds a graph in PyTorch and times it whenever standard input asks.

Reads graph.json and tensors.npz in the folder given, prints what it can do as
JSON, then answers each line "LAYOUT COUNT" with the seconds that COUNT pieces of
work took: training steps, forward passes, gradients of single samples with their
squares, or Hessian-vector products. "memory 0" asks for the largest memory that
the process had resident, in bytes.
"""

import json
import resource
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


def layer_norm(a, x, scale, shift=None):
    axis = a.get("axis", -1)
    return F.layer_norm(x, x.shape[axis:], scale, shift, a.get("epsilon", 1e-5))


def squeeze(a, x, axes=None):
    axes = a.get("axes") if axes is None else axes.tolist()
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def unsqueeze(a, x, axes=None):
    axes = a.get("axes") if axes is None else axes.tolist()
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def sliced(a, x, starts=None, ends=None, axes=None, steps=None):
    def ints(t, name):
        return t.tolist() if t is not None else a.get(name)

    starts, ends, axes, steps = ints(starts, "starts"), ints(ends, "ends"), ints(axes, "axes"), ints(steps, "steps")
    index = [slice(None)] * x.dim()
    for k, (start, end) in enumerate(zip(starts, ends)):
        index[axes[k] if axes else k] = slice(start, end, steps[k] if steps else 1)
    return x[tuple(index)]


def split(a, x, parts=None):
    axis = a.get("axis", 0)
    parts = a.get("split") if parts is None else parts.tolist()
    if parts is None:
        return torch.chunk(x, a["num_outputs"], axis)
    return torch.split(x, parts, axis)


def gather(a, x, index):
    axis = a.get("axis", 0)
    if index.dim() == 0:
        return x.select(axis, int(index))
    return x.index_select(axis, index.flatten()).reshape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


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
    "Pow": lambda a, x, y: x**y,
    "Sqrt": lambda a, x: x.sqrt(),
    "Erf": lambda a, x: x.erf(),
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "HardSwish": lambda a, x: F.hardswish(x),
    "HardSigmoid": lambda a, x: F.hardsigmoid(x),
    "LayerNormalization": layer_norm,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Slice": sliced,
    "Split": split,
    "Gather": gather,
    "Expand": lambda a, x, shape: x * torch.ones(shape.tolist()),
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
        self.trained = [self.values[name].requires_grad_() for name in g["train"] if name in self.values]
        self.x = own(torch.from_numpy(arrays["x"]))
        self.y = torch.zeros(len(self.x), dtype=torch.int64)
        self.optimizer = torch.optim.SGD(self.trained, lr=1e-4, momentum=0.9, weight_decay=5e-4)

        self.squares = [torch.zeros_like(p) for p in self.trained]
        self.direction = [torch.randn_like(p) for p in self.trained]
        self.turn = 0
        self.grads = None

    def forward(self, x):
        v = dict(self.values)
        v[g["input"]] = x
        for n in g["nodes"]:
            out = OPS[n["op"]](n["attrs"], *(v[i] if i else None for i in n["inputs"]))
            for name, value in zip(n["outputs"], out if isinstance(out, tuple) else (out,)):
                v[name] = value
        return v[g["output"]]

    def loss(self, x, y):
        return F.cross_entropy(self.forward(x), y)

    def step(self):
        self.optimizer.zero_grad()
        self.loss(self.x, self.y).backward()
        self.optimizer.step()

    def infer(self):
        with torch.no_grad():
            self.forward(self.x)

    def fisher(self):
        i = self.turn = (self.turn + 1) % len(self.x)
        grads = torch.autograd.grad(self.loss(self.x[i : i + 1], self.y[i : i + 1]), self.trained)
        for sum, grad in zip(self.squares, grads):
            sum.addcmul_(grad, grad)

    def hvp(self):
        if self.grads is None:  # once at a point
            self.grads = torch.autograd.grad(self.loss(self.x, self.y), self.trained, create_graph=True)
        torch.autograd.grad(self.grads, self.trained, self.direction, retain_graph=True, allow_unused=True)


work = {"step": Net.step, "forward": Net.infer, "fisher": Net.fisher, "hvp": Net.hvp}[g["what"]]
layouts = ["nchw"]
if arrays["x"].ndim == 4 and any(n["op"] == "Conv" for n in g["nodes"]):
    layouts.append("channels_last")
nets = {}
print(json.dumps({"version": torch.__version__.split("+")[0], "layouts": layouts}), flush=True)
for line in sys.stdin:
    layout, count = line.split()
    if layout == "memory":
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
        continue
    if layout not in nets:
        nets[layout] = Net(layout)
    net = nets[layout]
    start = time.perf_counter()
    for _ in range(int(count)):
        work(net)
    print(time.perf_counter() - start, flush=True)
