"""Writes the node cases of the installed onnx package as files.

    python nodetests.py FOLDER

FOLDER gets one folder per case, as in Debian's libonnx-testdata: model.onnx and
test_data_set_0/input_N.pb, output_N.pb; besides, data.json holds the tolerances
that the case asks for. Point ONNX_NODE_TESTS at FOLDER to run them.
"""

import json
import pathlib
import sys
import warnings

import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_node_model_tests


def encode(value, info):
    """A value as the message that its declared type asks for."""
    if isinstance(value, onnx.TensorProto):
        return value
    kind = info.type.WhichOneof("value")
    if kind == "tensor_type":
        return numpy_helper.from_array(value, info.name)
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    raise ValueError(f"{info.name}: a value of {kind}")


def main(folder):
    warnings.simplefilter("ignore")  # division by zero is what some cases are about
    cases = load_node_model_tests()
    for case in cases:
        root = pathlib.Path(folder) / case.name
        root.mkdir(parents=True, exist_ok=True)
        (root / "model.onnx").write_bytes(case.model.SerializeToString())
        (root / "data.json").write_text(json.dumps({"rtol": case.rtol, "atol": case.atol}))
        for i, (inputs, outputs) in enumerate(case.data_sets):
            data = root / f"test_data_set_{i}"
            data.mkdir(exist_ok=True)
            for kind, values, infos in (
                ("input", inputs, case.model.graph.input),
                ("output", outputs, case.model.graph.output),
            ):
                for j, value in enumerate(values):
                    (data / f"{kind}_{j}.pb").write_bytes(encode(value, infos[j]).SerializeToString())
    print(f"{len(cases)} cases of onnx {onnx.__version__} in {folder}")


if __name__ == "__main__":
    main(sys.argv[1])
