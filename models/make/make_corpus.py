"""Makes a corpus of real exports: the families of families.py in every dialect of PyTorch's exporters.

    python make_corpus.py FOLDER [--seed N] [--families a,b] [--dialects a,b]

Writes <family>.<dialect>.onnx, <family>.<dialect>.npz with inputs x<batch>.<i> and ONNX Runtime's outputs y<batch>.<i>,
and manifest.json, which also lists the exports that PyTorch itself refuses. Needs timm for two of the families. The
corpus is large and no part of the repository; TestCorpus reads it where CORPUS_DIR names the folder.
"""

import argparse
import copy
import json
import os
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

import export
from families import FAMILIES

BATCHES = (3, 5)  # the first is the one that is exported
DIALECTS = {
    # name: (dynamo, dynamic batch, training mode, options)
    "ts13": (False, True, False, {"opset_version": 13}),
    "ts17": (False, True, False, {"opset_version": 17}),
    "ts20": (False, True, False, {"opset_version": 20}),
    "dyn20": (True, False, False, {"opset_version": 20}),
    "dyn20-dynamic": (True, True, False, {"opset_version": 20}),
    "dyn23-dynamic": (True, True, False, {"opset_version": 23}),
    "ts17-unfolded": (False, True, False, {"opset_version": 17, "do_constant_folding": False}),
    "dyn20-unoptimized": (True, True, False, {"opset_version": 20, "optimize": False}),
    "ts17-training": (False, True, True, {"opset_version": 17, "do_constant_folding": False}),
    "dyn20-training": (True, True, True, {"opset_version": 20}),
}
# Further dialects, made where --dialects asks for them.
MORE = {
    "ts18": (False, True, False, {"opset_version": 18}),
    "ts17-fixed": (False, False, False, {"opset_version": 17}),
    "dyn18-dynamic": (True, True, False, {"opset_version": 18}),
    "dyn21-dynamic": (True, True, False, {"opset_version": 21}),
    "dyn22-dynamic": (True, True, False, {"opset_version": 22}),
    "dyn24-dynamic": (True, True, False, {"opset_version": 24}),
}
PLAIN = ("ts13", "ts17", "ts20", "dyn20", "dyn20-dynamic", "dyn23-dynamic")


def randomize(model, inputs):
    """Weights that look trained: no default is left, and running statistics are those of a batch, disturbed."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv1d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for parameter in model.parameters():
            spread = parameter.std().item() if parameter.numel() > 1 else 0.0
            parameter += torch.randn_like(parameter) * max(0.05 * spread, 0.02 if parameter.ndim < 2 else 0.0)
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
            norm.momentum = 1.0
        model.train()(*inputs)
        for norm in norms:
            norm.momentum = 0.1
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.5)
            norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
    model.eval()


def write(model, inputs, path, dynamo, dynamic, training, options):
    options = dict(options)
    if dynamo:
        options |= {"external_data": False, "verbose": False}
        if dynamic:
            options["dynamic_shapes"] = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    else:
        names = [f"input{i}" for i in range(len(inputs))]
        options |= {"input_names": names, "output_names": ["output"]}
        options["training"] = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
        if dynamic:
            options["dynamic_axes"] = {name: {0: "batch"} for name in [*names, "output"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.train(training), inputs, str(path), dynamo=dynamo, **options)
    if dynamo:
        export.edit_stack_traces(str(path), keep=False)


def run(path, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: x.numpy() for i, x in zip(session.get_inputs(), inputs)})


def make_file(folder, name, family, dialect, model, batches):
    """Writes one export and its data; returns its manifest entry."""
    dynamo, dynamic, training, options = (DIALECTS | MORE)[dialect]
    path = folder / f"{name}.{dialect}.onnx"
    entry = {"file": path.name, "family": name, "dialect": dialect, "plain": dialect in PLAIN}
    try:
        write(copy.deepcopy(model), batches[0], path, dynamo, dynamic, training, options)
    except Exception as error:  # the exporter's own limits, of any type
        return entry | {"refused": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"}
    arrays, sizes = {}, []
    for inputs in batches if dynamic else batches[:1]:
        try:
            outputs = run(path, inputs)
        except Exception as error:
            if not sizes:
                path.unlink()
                return entry | {"refused": f"ONNX Runtime: {str(error).strip().splitlines()[0][:160]}"}
            entry["only"] = "the exporter fixed the batch"
            break
        n = len(inputs[0])
        sizes.append(n)
        arrays |= {f"x{n}.{i}": x.numpy() for i, x in enumerate(inputs)}
        arrays |= {f"y{n}.{i}": y for i, y in enumerate(outputs)}
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    entry |= {"batches": sizes, "training": training and not dynamo, "classifies": family.classifies}
    operators = [n.op_type for n in onnx.load(path, load_external_data=False).graph.node]
    return entry | {"nodes": len(operators), "random": "RandomUniformLike" in operators}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--dialects", default=",".join(DIALECTS))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for name in args.families.split(","):
        family = FAMILIES[name]
        torch.manual_seed(args.seed)
        model = family.build()
        randomize(model, family.inputs(16))
        batches = [family.inputs(n) for n in BATCHES]
        for dialect in args.dialects.split(","):
            entry = make_file(args.folder, name, family, dialect, model, batches)
            entries.append(entry)
            print(name, dialect, entry.get("refused", "done"), flush=True)
            manifest = args.folder / "manifest.json"
            partial = args.folder / ".manifest"
            partial.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "seed": args.seed, "files": entries}, indent=1) + "\n")
            os.replace(partial, manifest)


if __name__ == "__main__":
    main()
