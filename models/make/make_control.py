"""Makes testdata/control: small files with branches, loops, scans and local functions.

    python make_control.py

<case>.onnx is an export of a tiny network or built by hand where no exporter writes it; <case>.npz holds, for run r,
the inputs x<r>.<name> and ONNX Runtime's outputs y<r>.<name>; manifest.json says what each file shows.
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

import export
import fashion_mnist

FOLDER = fashion_mnist.FOLDER.parent / "control"
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class ScriptedLoop(nn.Module):
    """A number of turns that the code says."""

    def __init__(self):
        super().__init__()
        self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        for i in range(3):
            x = torch.tanh(self.fc(x)) + float(i) * x
        return self.head(x)


class ScriptedLength(nn.Module):
    """One turn per step of the sequence, whose length only the input tells."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.Linear(8, 4), nn.Linear(4, 3)

    def forward(self, x):
        h = torch.zeros(x.size(0), 4)
        for t in range(x.size(1)):
            h = torch.tanh(self.cell(torch.cat([x[:, t], h], 1)))
        return self.head(h)


class ScriptedWhile(nn.Module):
    """A loop that a condition ends."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        n = 1
        while n < 10:
            x = F.relu(self.fc(x)) + x
            n = n * 2
        return x


class ScriptedBranch(nn.Module):
    """A branch on the values, and in it one on the shape."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        if bool(x.sum() > 0):
            y = self.a(x)
            if x.size(0) > 3:
                y = F.relu(y)
        else:
            y = self.b(x) * 2.0
        return y


class Cond(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return torch.cond(x.mean() > 0, lambda x: torch.relu(self.a(x)), lambda x: self.b(x) - 1, (x,))


class ScanExport(nn.Module):
    """A recurrence by torch's scan."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(4, 4)

    def forward(self, x):
        def step(h, x):
            h = torch.tanh(x + self.cell(h))
            return h, h * 2

        from torch._higher_order_ops.scan import scan

        last, every = scan(step, torch.zeros_like(x[0]), x, dim=0)
        return last, every


def script(model, x, path):
    torch.onnx.export(
        torch.jit.script(model.eval()), (x,), str(path), dynamo=False, opset_version=17, input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {i: f"d{i}" for i in range(x.ndim - 1)}},
    )


def dynamo(model, x, path):
    torch.onnx.export(model.eval(), (x,), str(path), dynamo=True, opset_version=20, external_data=False, verbose=False)
    export.edit_stack_traces(str(path), keep=False)


def info(name, *shape, elem=FLOAT):
    return helper.make_tensor_value_info(name, elem, shape or None)


def scalar(name, elem):
    return helper.make_tensor_value_info(name, elem, [])


def constant(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def save(path, nodes, inputs, outputs, inits=(), functions=(), opset=20):
    domains = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("local", 1)] if functions else [])
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, initializer=list(inits))
    model = helper.make_model(graph, opset_imports=domains, functions=list(functions), ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def scan_two(path):
    """State and weight from outside; one input read along its last axis and backwards, outputs along other axes."""
    node = helper.make_node
    body = helper.make_graph(
        [
            node("MatMul", ["h", "w"], ["hw"]),
            node("Add", ["hw", "a"], ["s"]),
            node("Tanh", ["s"], ["t"]),
            node("Mul", ["t", "b"], ["h2"]),
            node("ReduceSum", ["h2"], ["sum"], keepdims=0),
        ],
        "step", [info("h"), info("a"), info("b")], [info("h2"), info("t"), info("sum")],
    )
    save(
        path,
        [node(
            "Scan", ["h0", "a", "b"], ["last", "every", "sums"], body=body, num_scan_inputs=2, scan_input_axes=[1, -1],
            scan_input_directions=[0, 1], scan_output_axes=[1, 0], scan_output_directions=[0, 1],
        )],
        [info("h0", "n", 3), info("a", "n", 5, 3), info("b", "n", 3, 5)],
        [info("last", "n", 3), info("every", "n", 5, 3), info("sums", 5)],
        [constant("w", numbers(3, 3))],
    )


def scan_plain(path):
    """A running sum without anything from outside, state only."""
    node = helper.make_node
    body = helper.make_graph([node("Add", ["s", "x"], ["s2"])], "step", [info("s", 3), info("x", 3)], [info("s2", 3)])
    save(path, [node("Scan", ["s0", "x"], ["y"], body=body, num_scan_inputs=1)], [info("s0", 3), info("x", 4, 3)], [info("y", 3)])


def loop_carried(path):
    """Two values carried, an output per turn, a counter in use, and no limit but the condition."""
    node = helper.make_node
    body = helper.make_graph(
        [
            node("Add", ["a", "step"], ["a2"]),
            node("Cast", ["i"], ["f"], to=FLOAT),
            node("Mul", ["b", "f"], ["bf"]),
            node("Add", ["bf", "a2"], ["b2"]),
            node("Less", ["i", "three"], ["go"]),
        ],
        "turn", [scalar("i", INT64), scalar("on", BOOL), info("a"), info("b")],
        [scalar("go", BOOL), info("a2"), info("b2"), info("bf")],
    )
    save(
        path, [node("Loop", ["", "yes", "x", "x"], ["a", "b", "all"], body=body)], [info("x", "n", 2)],
        [info("a", "n", 2), info("b", "n", 2), info("all", 5, "n", 2)],
        [constant("yes", True, bool), constant("step", [0.5, -1]), constant("three", 3, np.int64)],
    )


def loop_nested(path):
    """A loop in a loop, whose inner limit is the outer counter."""
    node = helper.make_node
    inner = helper.make_graph(
        [node("Add", ["v", "w"], ["v2"]), node("Identity", ["on"], ["on2"])],
        "inner", [scalar("j", INT64), scalar("on", BOOL), info("v")], [scalar("on2", BOOL), info("v2")],
    )
    outer = helper.make_graph(
        [node("Loop", ["i", "", "u"], ["u2"], body=inner), node("Relu", ["u2"], ["u3"]), node("Identity", ["on"], ["on2"])],
        "outer", [scalar("i", INT64), scalar("on", BOOL), info("u")], [scalar("on2", BOOL), info("u3")],
    )
    save(
        path, [node("Loop", ["count", "", "x"], ["y"], body=outer)], [info("x", "n", 2)], [info("y", "n", 2)],
        [constant("count", 4, np.int64), constant("w", [0.25, -0.5])],
    )


def if_captured(path):
    """Weights of the graph around, of the branch itself, and an input, in branches of branches."""
    node = helper.make_node
    deep = helper.make_graph([node("MatMul", ["x", "w"], ["d"])], "deep", [], [info("d")])
    flat = helper.make_graph([node("MatMul", ["x", "v"], ["f"])], "flat", [], [info("f")], [constant("v", numbers(3, 2))])
    then = helper.make_graph(
        [node("If", ["inner"], ["c"], then_branch=deep, else_branch=flat), node("Add", ["c", "bias"], ["t"])], "then", [], [info("t")],
    )
    other = helper.make_graph([node("MatMul", ["x", "w"], ["e0"]), node("Neg", ["e0"], ["e"])], "else", [], [info("e")])
    save(
        path, [node("If", ["outer"], ["y"], then_branch=then, else_branch=other)],
        [info("x", "n", 3), scalar("outer", BOOL), scalar("inner", BOOL)], [info("y", "n", 2)],
        [constant("w", numbers(3, 2)), constant("bias", [1, 2])],
    )


def functions(path):
    """A function that calls another: attributes handed on and defaults, an input left out, a value from nowhere else."""
    node = helper.make_node

    def handed(op, inputs, outputs, domain="", **names):
        n = node(op, inputs, outputs, domain=domain)
        for name, (outer, kind) in names.items():
            n.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=outer, type=kind))
        return n

    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    real = onnx.AttributeProto.FLOAT
    inner = helper.make_function(
        "local", "Scaled", ["x", "low", "high"], ["y"],
        [handed("LeakyRelu", ["x"], ["r"], alpha=("slope", real)), node("Clip", ["r", "low", "high"], ["y"])],
        opsets, attribute_protos=[helper.make_attribute("slope", 0.5)],
    )
    outer = helper.make_function(
        "local", "Block", ["x", "w", "high"], ["y", "z"],
        [
            node("MatMul", ["x", "w"], ["m"]),
            handed("Scaled", ["m", "", "high"], ["y"], domain="local", slope=("steep", real)),
            node("Scaled", ["m"], ["z"], domain="local"),
        ],
        opsets, attributes=["steep"],
    )
    save(
        path,
        [
            node("Block", ["x", "w1", "top"], ["a", "b"], domain="local", steep=0.125),
            node("Add", ["a", "b"], ["s"]),
            node("Block", ["s", "w2"], ["y", ""], domain="local", steep=0.25),
        ],
        [info("x", "n", 3)], [info("y", "n", 2)],
        [constant("w1", numbers(3, 3)), constant("w2", numbers(3, 2)), constant("top", 0.5)], [inner, outer],
    )


def function_loop(path):
    """A function with a loop in its body, whose limit is an input of the function."""
    node = helper.make_node
    turn = helper.make_graph(
        [node("Mul", ["v", "w"], ["v2"]), node("Identity", ["on"], ["on2"])],
        "turn", [scalar("i", INT64), scalar("on", BOOL), info("v")], [scalar("on2", BOOL), info("v2")],
    )
    f = helper.make_function(
        "local", "Power", ["x", "w", "n"], ["y"], [node("Loop", ["n", "", "x"], ["y"], body=turn)], [helper.make_opsetid("", 20)],
    )
    save(
        path, [node("Power", ["x", "w", "three"], ["y"], domain="local")], [info("x", "n", 2)], [info("y", "n", 2)],
        [constant("w", [0.5, -2]), constant("three", 3, np.int64)], [f],
    )


def left_out(path):
    """Optional inputs left out in the middle, and at the end with and without an empty name."""
    node = helper.make_node
    save(
        path,
        [
            node("Clip", ["x", "", "top"], ["c"]),
            node("Resize", ["c", "", "", "sizes"], ["r"], mode="nearest"),
            node("ReduceSum", ["r", ""], ["s"], keepdims=1),
            node("LSTM", ["seq", "w", "r0", "", "", "h0"], ["", "h"], hidden_size=2),
            node("ReduceMean", ["h"], ["m"], keepdims=0),
            node("Add", ["s", "m"], ["y"]),
        ],
        [info("x", 1, 1, 2, 3), info("seq", 3, 1, 4), info("h0", 1, 1, 2)], [info("y", 1, 1, 1, 1)],
        [constant("top", 0.5), constant("sizes", [1, 1, 4, 3], np.int64), constant("w", numbers(1, 8, 4)), constant("r0", numbers(1, 8, 2))],
    )


def old(path):
    """Operators as operator set 8 has them: attributes for what are inputs today, softmax over several axes."""
    node = helper.make_node
    save(
        path,
        [
            node("Pad", ["x"], ["p"], pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5),
            node("BatchNormalization", ["p", "scale", "shift", "mean", "var"], ["n"]),
            node("Clip", ["n"], ["c"], min=-0.75, max=1.5),
            node("Softmax", ["c"], ["s"]),
            node("LogSoftmax", ["c"], ["l"], axis=3),
            node("Split", ["s"], ["s1", "s2"], axis=3, split=[2, 4]),
            node("Slice", ["l"], ["cut"], starts=[1, 0], ends=[9, -4], axes=[2, 3]),
            node("Slice", ["s1"], ["front"], starts=[0, 0, 0], ends=[9, 2, 4]),
            node("Add", ["cut", "front"], ["a"]),
            node("ReduceSum", ["a"], ["r"], axes=[2], keepdims=0),
            node("Unsqueeze", ["r"], ["u"], axes=[0, 3]),
            node("Squeeze", ["u"], ["q"], axes=[0]),
            node("TopK", ["s2"], ["t", "where"], axis=-1, k=2),
            node("Dropout", ["t"], ["d"], ratio=0.25),
            node("Upsample", ["d"], ["w"], mode="nearest", scales=[1.0, 1.0, 1.0, 2.0]),
            node("ReduceMean", ["w"], ["m"], axes=[2, 3]),
            node("Add", ["q", "m"], ["y"]),
        ],
        [info("x", "n", 2, 4, 4)], [info("y", "n", 2, 1, 2)],
        [constant("scale", [0.5, 2]), constant("shift", [0.25, -1]), constant("mean", [0.1, 0.2]), constant("var", [1, 4])],
        opset=8,
    )


def rows(*counts, width=4, **more):
    return [{"x": numbers(n, width)} | more for n in counts]


CASES = {
    # name: (what it shows, maker, runs)
    "loop-scripted": ("a loop of a scripted module", (script, ScriptedLoop, (3, 4)), rows(3, 5)),
    "loop-length": ("a loop over a sequence", (script, ScriptedLength, (2, 3, 4)), [{"x": numbers(2, 3, 4)}, {"x": numbers(4, 5, 4)}]),
    "while-scripted": ("a loop that a condition ends", (script, ScriptedWhile, (3, 4)), rows(3, 1)),
    "if-scripted": ("a branch on values and one on shapes", (script, ScriptedBranch, (3, 4)), rows(3, 5) + [{"x": -np.abs(numbers(3, 4))}]),
    "if-dyn": ("torch.cond", (dynamo, Cond, (3, 4)), [{"x": np.abs(numbers(3, 4))}, {"x": -np.abs(numbers(3, 4))}]),
    "scan-dyn": ("torch's scan", (dynamo, ScanExport, (5, 3, 4)), [{"x": numbers(5, 3, 4)}]),
    "scan-two": (scan_two.__doc__, scan_two, [{"h0": numbers(n, 3), "a": numbers(n, 5, 3), "b": numbers(n, 3, 5)} for n in (1, 4)]),
    "scan-plain": (scan_plain.__doc__, scan_plain, [{"s0": numbers(3), "x": numbers(4, 3)}]),
    "loop-carried": (loop_carried.__doc__, loop_carried, rows(2, 3, width=2)),
    "loop-nested": (loop_nested.__doc__, loop_nested, rows(2, width=2)),
    "if-captured": (if_captured.__doc__, if_captured, [
        {"x": numbers(4, 3), "outer": np.array(o), "inner": np.array(i)} for o in (True, False) for i in (True, False)
    ]),
    "functions": (functions.__doc__, functions, rows(2, 5, width=3)),
    "function-loop": (function_loop.__doc__, function_loop, rows(2, width=2)),
    "left-out": (left_out.__doc__, left_out, [{"x": numbers(1, 1, 2, 3), "seq": numbers(3, 1, 4), "h0": numbers(1, 1, 2)}]),
    "old": (old.__doc__, old, [{"x": numbers(n, 2, 4, 4)} for n in (1, 3)]),
}


def make(path, maker):
    if callable(maker):
        maker(path)
        return
    exporter, network, shape = maker
    torch.manual_seed(5)
    exporter(network(), torch.ones(shape), path)


def main():
    warnings.simplefilter("ignore")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    entries = []
    for name, (shows, maker, runs) in CASES.items():
        path = FOLDER / f"{name}.onnx"
        make(path, maker)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        arrays = {}
        for r, feeds in enumerate(runs):
            arrays |= {f"x{r}.{k}": v for k, v in feeds.items()}
            outputs = session.run(None, feeds)
            arrays |= {f"y{r}.{out.name}": y for out, y in zip(session.get_outputs(), outputs)}
        np.savez_compressed(path.with_suffix(".npz"), **arrays)
        entries.append({"file": path.name, "shows": shows, "runs": len(runs)})
        print(name, path.stat().st_size, flush=True)
    manifest = {"torch": torch.__version__.split("+")[0], "files": entries}
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
