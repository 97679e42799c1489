"""Narrow exports of common networks and the groups that Torch-Pruning finds in them.

    python make_groups.py OUT

writes OUT/<network>.onnx and OUT/<network>.json. The networks are torchvision's, made narrow
by Torch-Pruning itself, so that topology and names are those of the originals and the files
are small; weights are random, normalisation is not the identity. The JSON lists, per group,
the layers whose outputs or inputs go together: ["conv1.weight out", "layer1.0.conv1.weight in"].
"""
import json
import pathlib
import sys
import warnings

import torch
import torch_pruning as tp
import torchvision.models as zoo

LAYERS = (torch.nn.Conv2d, torch.nn.Linear)


def vit():
    return zoo.VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=48, num_classes=10)


NETWORKS = {
    # name: constructor, image size, share of channels that is cut away
    "resnet18": (lambda: zoo.resnet18(num_classes=10), 64, 0.875),
    "resnet50": (lambda: zoo.resnet50(num_classes=10), 64, 0.9375),
    "densenet121": (lambda: zoo.densenet121(num_classes=10), 64, 0.875),
    "mobilenet_v2": (lambda: zoo.mobilenet_v2(num_classes=10), 64, 0.75),
    "vgg16_bn": (lambda: zoo.vgg16_bn(num_classes=10), 224, 0.97),
    "vit": (vit, 32, 0),
}


def narrow(model, x, share):
    """Cut the network's width, keeping its topology."""
    if share == 0:
        return
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1]
    tp.pruner.MagnitudePruner(model, x, tp.importance.MagnitudeImportance(p=2), pruning_ratio=share, ignored_layers=[last], round_to=2).step()


def stir(model):
    """Random values for what is constant in a fresh network."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.weight.uniform_(0.5, 1.5, generator=g)
                m.bias.normal_(0, 0.3, generator=g)
                m.running_mean.normal_(0, 0.2, generator=g)
                m.running_var.uniform_(0.5, 1.5, generator=g)
        for p in model.parameters():
            if p.unique().numel() == 1:
                p.add_(0.1 * torch.randn(p.shape, generator=g))


def groups(model, x):
    """The groups as sorted lists of "parameter out" and "parameter in"."""
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=x)
    names = {m: n for n, m in model.named_modules()}
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1]  # its outputs are the model's
    found = set()
    for group in graph.get_all_groups(ignored_layers=[last], root_module_types=LAYERS):
        members = set()
        for dep, _ in group:
            m = dep.target.module
            if isinstance(m, torch.nn.MultiheadAttention):  # one module with the width on both sides
                members |= {f"{names[m]}.in_proj_weight in", f"{names[m]}.out_proj.weight out"}
            elif isinstance(m, LAYERS) and m in names:
                out = graph.is_out_channel_pruning_fn(dep.handler)
                depthwise = isinstance(m, torch.nn.Conv2d) and m.groups == m.out_channels and m.groups > 1
                members.add(f"{names[m]}.weight {'out' if out or depthwise else 'in'}")
        if any(member.endswith(" out") for member in members):
            found.add(tuple(sorted(members)))
    return [list(g) for g in sorted(found)]


def main(out):
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    for name, (make, pixels, share) in NETWORKS.items():
        torch.manual_seed(0)
        model, x = make().eval(), torch.randn(1, 3, pixels, pixels)
        narrow(model, x, share)
        stir(model)
        torch.onnx.export(
            model, (x,), str(out / f"{name}.onnx"), opset_version=17, dynamo=False, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, input_names=["x"], output_names=["logits"],
            dynamic_axes={"x": {0: "n"}, "logits": {0: "n"}},
        )
        (out / f"{name}.json").write_text(json.dumps(groups(model, x), indent=1) + "\n")
        print(name, (out / f"{name}.onnx").stat().st_size)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    main(target)
