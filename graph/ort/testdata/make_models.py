#!/usr/bin/env python3
"""Writes the small models that the tests of package ort run, beside this file.

Needs: pip install onnx numpy. The output does not depend on the machine.
"""

import pathlib

import onnx
from onnx import TensorProto as T
from onnx import helper as h

HERE = pathlib.Path(__file__).parent
TYPES = [
    "FLOAT", "DOUBLE", "INT8", "INT16", "INT32", "INT64",
    "UINT8", "UINT16", "UINT32", "UINT64", "BOOL", "STRING", "FLOAT16", "BFLOAT16",
]
NOT_AS_SCALAR = {"STRING", "FLOAT16", "BFLOAT16"}  # of the binding's inputs


def info(name, typ=T.FLOAT, shape=("n",)):
    return h.make_tensor_value_info(name, typ, shape)


def save(name, nodes, inputs, outputs, initializers=(), opset=17, domains=(), functions=(), check=True):
    graph = h.make_graph(nodes, name, inputs, outputs, list(initializers))
    opsets = [h.make_opsetid("", opset)] if opset else []
    opsets += [h.make_opsetid(d, 1) for d in domains]
    model = h.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions), producer_name="make_models.py")
    if check:
        onnx.checker.check_model(model)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def identities(name, types, *shape):
    """One Identity per type; the first extent of a matrix is free for each."""
    own = {t: [f"n_{t}" if d == "n" else d for d in shape] for t in types}
    save(
        name,
        [h.make_node("Identity", [f"in_{t}"], [f"out_{t}"]) for t in types],
        [info(f"in_{t}", getattr(T, t), own[t]) for t in types],
        [info(f"out_{t}", getattr(T, t), own[t]) for t in types],
    )


# y = x W + b, W also among the inputs as files of IR version 3 have it.
save(
    "affine",
    [h.make_node("Gemm", ["x", "W", "b"], ["y"])],
    [info("x", T.FLOAT, ("batch", 3)), info("W", T.FLOAT, (3, 2))],
    [info("y", T.FLOAT, ("batch", 2))],
    [
        h.make_tensor("W", T.FLOAT, (3, 2), [1, 2, 3, 4, 5, 6]),
        h.make_tensor("b", T.FLOAT, (2,), [0.5, -0.5]),
    ],
)

identities("types", TYPES, "n", 2)
identities("scalars", [t for t in TYPES if t not in NOT_AS_SCALAR])

# Scalars of the types that can be returned but not fed.
save(
    "scalar_constants",
    [
        h.make_node("Constant", [], ["string"], value=h.make_tensor("", T.STRING, (), [b"prune"])),
        h.make_node("Constant", [], ["float16"], value=h.make_tensor("", T.FLOAT16, (), [1.5])),
        h.make_node("Constant", [], ["bfloat16"], value=h.make_tensor("", T.BFLOAT16, (), [-2.0])),
    ],
    [],
    [info("string", T.STRING, ()), info("float16", T.FLOAT16, ()), info("bfloat16", T.BFLOAT16, ())],
)

# The shape of the output depends on the values of the input.
save("nonzero", [h.make_node("NonZero", ["x"], ["y"])], [info("x")], [info("y", T.INT64, (1, "count"))])

# The file says nothing about the rank of y, which the checker does not like.
save(
    "unknown_rank",
    [h.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
    [info("x", T.FLOAT, ("n", 2)), info("axes", T.INT64, ("k",))],
    [h.make_tensor_value_info("y", T.FLOAT, None)],
    check=False,
)

# One step of w' = w - lr * dL/dw with L = sum (w - target)^2.
save(
    "step",
    [
        h.make_node("Sub", ["w", "target"], ["d"]),
        h.make_node("Mul", ["d", "d"], ["squares"]),
        h.make_node("ReduceSum", ["squares"], ["loss"], keepdims=0),
        h.make_node("Add", ["d", "d"], ["w_grad"]),
        h.make_node("Mul", ["w_grad", "lr"], ["update"]),
        h.make_node("Sub", ["w", "update"], ["w_next"]),
    ],
    [info("w", T.FLOAT, (4,)), info("target", T.FLOAT, (4,)), info("lr", T.FLOAT, ())],
    [info("loss", T.FLOAT, ()), info("w_grad", T.FLOAT, (4,)), info("w_next", T.FLOAT, (4,))],
)

# Writing y over x while reading x would go wrong.
save("transpose", [h.make_node("Transpose", ["x"], ["y"])], [info("x", T.FLOAT, (64, 64))], [info("y", T.FLOAT, (64, 64))])

# Runs for as long as it is told: trips rounds of x + 1.
body = h.make_graph(
    [h.make_node("Identity", ["go"], ["go_on"]), h.make_node("Add", ["v", "one"], ["v_next"])],
    "body",
    [info("i", T.INT64, ()), info("go", T.BOOL, ()), info("v", T.FLOAT, (1,))],
    [info("go_on", T.BOOL, ()), info("v_next", T.FLOAT, (1,))],
    [h.make_tensor("one", T.FLOAT, (1,), [1])],
)
save(
    "loop",
    [h.make_node("Loop", ["trips", "", "x"], ["y"], body=body)],
    [info("trips", T.INT64, ()), info("x", T.FLOAT, (1,))],
    [info("y", T.FLOAT, (1,))],
)

# Imports ONNX's operators in a function only; the scalar needs them outside.
mean = h.make_function("test", "Total", ["a"], ["b"], [h.make_node("ReduceSum", ["a"], ["b"], keepdims=0)], [h.make_opsetid("", 17)])
save(
    "function_only",
    [h.make_node("Total", ["x"], ["y"], domain="test")],
    [info("x")],
    [info("y", T.FLOAT, ())],
    opset=0,
    domains=["test"],
    functions=[mean],
)

# An output that is no tensor.
sequence = h.make_tensor_sequence_value_info("y", T.FLOAT, None)
save("sequence", [h.make_node("SequenceConstruct", ["x"], ["y"])], [info("x")], [sequence])

# The weight lies in a file that does not exist.
W = T(name="W", data_type=T.FLOAT, dims=[3], data_location=T.EXTERNAL)
W.external_data.add(key="location", value="absent.bin")
save("external", [h.make_node("Add", ["x", "W"], ["y"])], [info("x", T.FLOAT, (3,))], [info("y", T.FLOAT, (3,))], [W], check=False)

# Fails while it runs: no such index.
save(
    "gather",
    [h.make_node("Gather", ["x", "i"], ["y"], name="pick")],
    [info("x"), info("i", T.INT64, (1,))],
    [info("y", T.FLOAT, (1,))],
)
