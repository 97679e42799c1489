"""Makes the model files of this folder: python make.py (PyTorch 2.15, onnx 1.23).

Exports by both of PyTorch's exporters, and files that use what exporters
rarely do: every element type in every storage, sparse initializers, nested
graphs, functions, training information, device configurations, unknown fields.
"""

import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3, bias=False)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4 * 3 * 3, 10)

    def forward(self, x):
        x = torch.nn.functional.max_pool2d(torch.relu(self.bn(self.conv(x))), 2)
        return self.fc(x.flatten(1))


def net():
    torch.manual_seed(1)
    model = Net()
    model.bn.running_mean.uniform_(-1, 1)
    with torch.no_grad():  # pruned as mask * w prunes: zeros of both signs
        model.fc.weight *= torch.rand(model.fc.weight.shape) < 0.5
    return model.eval()


def without_paths(path):
    """Replaces the author's folders in the stack traces that torch writes."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        for prop in node.metadata_props:
            if prop.key == "pkg.torch.onnx.stack_trace":
                prop.value = 'File "net.py", line 1, in forward'
    onnx.save(model, path)


def exports():
    x = torch.zeros(2, 1, 8, 8)
    torch.onnx.export(net(), (x,), "torchscript.onnx", dynamo=False, opset_version=17,
                      input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}})
    torch.onnx.export(net(), (x,), "torchscript_training.onnx", dynamo=False, opset_version=13,
                      do_constant_folding=False, training=torch.onnx.TrainingMode.TRAINING)
    torch.onnx.export(net(), (x,), "dynamo.onnx", dynamo=True, optimize=False, external_data=False,
                      dynamic_shapes=({0: "batch"},))
    torch.onnx.export(net(), (x,), "dynamo_external.onnx", dynamo=True)
    without_paths("dynamo.onnx")
    without_paths("dynamo_external.onnx")


def storages():
    """Every element type, in raw_data and in its typed field."""
    tensors = []
    for name, dtype in TensorProto.DataType.items():
        if dtype == TensorProto.UNDEFINED:
            continue
        if dtype == TensorProto.STRING:
            tensors.append(helper.make_tensor("STRING", dtype, [3], [b"a", b"", b"\xff\x01"]))
            continue
        if dtype in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
            vals = [1 + 2j, -0.0 - 1j, 0, 3j, 1]
        elif dtype == TensorProto.BOOL:
            vals = [True, False, True, True, False]
        elif name.startswith(("UINT", "FLOAT8E8M0")):
            vals = [0, 1, 2, 1, 1]
        else:
            vals = [0, 1, -1, -2, 1]
        typed = helper.make_tensor(name + "_typed", dtype, [5], vals)
        tensors.append(typed)
        tensors.append(numpy_helper.from_array(numpy_helper.to_array(typed), name + "_raw"))
    bits = np.array([0x80000000, 0x7fc00001, 0xffa00002, 0x00000001], dtype=np.uint32)  # -0, NaNs, denormal
    for raw in (True, False):
        t = TensorProto(name="bits_raw" if raw else "bits_typed", data_type=TensorProto.FLOAT, dims=[2, 2])
        if raw:
            t.raw_data = bits.tobytes()
        else:
            t.float_data.extend(bits.view(np.float32))
        tensors.append(t)
    tensors.append(helper.make_tensor("empty_typed", TensorProto.FLOAT, [0, 3], []))
    tensors.append(helper.make_tensor("empty_raw", TensorProto.FLOAT, [0], b"", raw=True))
    tensors.append(helper.make_tensor("scalar", TensorProto.INT64, [], [7]))
    onnx.save(model_of(helper.make_graph([], "storages", [], [], tensors)), "storages.onnx")


def model_of(graph, **kwargs):
    return helper.make_model(graph, ir_version=13, opset_imports=[helper.make_opsetid("", 20)],
                             producer_name="make.py", **kwargs)


def f32(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def sparse():
    values = lambda name: numpy_helper.from_array(np.array([1, -2, 3], np.float32), name)
    indices = lambda i: numpy_helper.from_array(np.array(i, np.int64))
    graph = helper.make_graph(
        [helper.make_node("Add", ["linear", "coordinates"], ["y"])], "sparse", [], [f32("y", [2, 3])],
        sparse_initializer=[
            helper.make_sparse_tensor(values("linear"), indices([0, 2, 5]), [2, 3]),
            helper.make_sparse_tensor(values("coordinates"), indices([[0, 1], [1, 0], [1, 2]]), [2, 3]),
        ])
    onnx.save(model_of(graph), "sparse.onnx")


def rare():
    """Nested graphs, functions, all kinds of types and attributes, unknown fields."""
    branch = lambda v: helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value_float=v), helper.make_node("Add", ["x", "c"], ["r"])],
        "branch", [], [f32("r", ["batch", 3])])
    nodes = [
        helper.make_node("If", ["cond"], ["a"], "if", then_branch=branch(0.0), else_branch=branch(-0.0)),
        helper.make_node("Twice", ["a"], ["b"], "twice", domain="local", overload="v2", factor=2.0),
        helper.make_node("Odd", ["b", ""], ["c", ""], "odd", doc_string="all attributes", domain="other",
                         i=0, s="", ints=[3, -1], floats=[0.5], strings=["a", ""], t=helper.make_tensor("t", 1, [1], [2.0]),
                         tensors=[helper.make_tensor("t", 7, [1], [2])], graphs=[branch(1.0)],
                         tp=helper.make_tensor_type_proto(1, [1]), type_protos=[helper.make_tensor_type_proto(1, None)],
                         sparse=helper.make_sparse_tensor(helper.make_tensor("v", 1, [1], [2.0]),
                                                          helper.make_tensor("i", 7, [1], [2]), [4])),
    ]
    helper.set_metadata_props(nodes[0], {"module": "net.if"})
    device = nodes[1].device_configurations.add(configuration_id="two", pipeline_stage=0)
    shard = device.sharding_spec.add(tensor_name="a", device=[0, 1])
    shard.sharded_dim.add(axis=0).simple_sharding.add(dim_param="batch", num_shards=2)
    shard.index_to_device_group_map.add(key=0, value=[0, 1])

    fn = helper.make_function(
        "local", "Twice", ["x"], ["y"],
        [helper.make_node("Constant", [], ["f"]), helper.make_node("Mul", ["x", "f"], ["y"])],
        [helper.make_opsetid("", 20)], attributes=["factor"], overload="v2",
        attribute_protos=[helper.make_attribute("bias", 0.0)], value_info=[f32("f", [])])
    fn.node[0].attribute.add(name="value_float", type=onnx.AttributeProto.FLOAT, ref_attr_name="factor")

    tensor = helper.make_tensor_type_proto(1, [2, None, "n", 0])
    tensor.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    types = [helper.make_sequence_type_proto(tensor), helper.make_optional_type_proto(tensor),
             helper.make_map_type_proto(TensorProto.STRING, tensor), helper.make_sparse_tensor_type_proto(1, [3]),
             onnx.TypeProto(denotation="IMAGE", opaque_type=onnx.TypeProto.Opaque(domain="d", name="o")),
             onnx.TypeProto(), helper.make_tensor_type_proto(1, None), helper.make_tensor_type_proto(1, [])]
    infos = [helper.make_value_info(f"v{i}", t) for i, t in enumerate(types)]
    graph = helper.make_graph(nodes, "rare", [helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
                                              f32("x", ["batch", 3])], [f32("c", ["batch", 3])],
                              doc_string="a graph", value_info=infos)
    graph.quantization_annotation.add(tensor_name="x").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    helper.set_metadata_props(graph, {"k": ""})
    model = model_of(graph, functions=[fn], doc_string="", domain="here")
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.opset_import.append(helper.make_opsetid("other", 1))
    model.configuration.add(name="two", num_devices=2, device=["a", "b"])
    model.training_info.append(helper.make_training_info(
        helper.make_graph([], "step", [], []), [("w", "w_new")], helper.make_graph([], "init", [], []), [("w", "w0")]))
    helper.set_model_props(model, {"note": "kept"})
    with open("rare.onnx", "wb") as f:
        f.write(model.SerializeToString())
        f.write(b"\xc2\x3e\x03new")  # field 1000, which no version of ONNX has


exports()
storages()
sparse()
rare()
