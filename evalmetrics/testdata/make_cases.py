"""Writes other/: reference cases of the metrics with other networks, sizes, classes and settings.

Usage: python make_cases.py      (NumPy, onnx, onnxruntime and scikit-learn; any recent versions)

Formulas are written from the papers' and the reference code's descriptions, nothing is shared with
the Go code; machines are scikit-learn's. The layout is that of unprune/testdata/golden.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from sklearn.svm import SVC

OUT = pathlib.Path(__file__).with_name("other")
CLASSES = 7
SIZES = {"retain": 90, "forget": 31, "test": 46}
RNG = np.random.default_rng(20)


def save(case, document, **arrays):
    folder = OUT / case
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.json").write_text(json.dumps(document, indent=1) + "\n")
    for name, content in arrays.items():
        np.savez_compressed(folder / f"{name}.npz", **content)


def network(model, scale):
    """A random network as ONNX: mlp 9-20-7, cnn 1x6x6 with batch normalisation."""
    rng = np.random.default_rng({"mlp": 3, "cnn": 4}[model])
    weights, nodes = {}, []

    def weight(name, *shape, near=0.0, spread=0.8):
        weights[name] = (scale * (near + spread * rng.normal(size=shape))).astype(np.float32)
        return name

    if model == "mlp":
        shape = ["n", 9]
        nodes += [
            helper.make_node("Gemm", ["x", weight("fc1.weight", 20, 9), weight("fc1.bias", 20)], ["h"], transB=1),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", weight("fc2.weight", CLASSES, 20), weight("fc2.bias", CLASSES)], ["logits"], transB=1),
        ]
    else:
        shape = ["n", 1, 6, 6]
        bn = [weight("bn.weight", 5, near=1, spread=0.2), weight("bn.bias", 5), weight("bn.running_mean", 5)]
        weights["bn.running_var"] = rng.uniform(0.5, 2, 5).astype(np.float32)
        nodes += [
            helper.make_node("Conv", ["x", weight("conv.weight", 5, 1, 3, 3)], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
            helper.make_node("BatchNormalization", ["c", *bn, "bn.running_var"], ["b"]),
            helper.make_node("Relu", ["b"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", weight("fc.weight", CLASSES, 5), weight("fc.bias", CLASSES)], ["logits"], transB=1),
        ]
    graph = helper.make_graph(
        nodes, model,
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(net, full_check=True)
    return net


def write_network(case, file, net):
    (OUT / case).mkdir(parents=True, exist_ok=True)
    (OUT / case / file).write_bytes(net.SerializeToString())


def outputs(net, x):
    session = onnxruntime.InferenceSession(net.SerializeToString(), providers=["CPUExecutionProvider"])
    z = session.run(None, {"x": x})[0].astype(np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def safe(p):
    return np.log(np.maximum(p, 1e-30))


def entropy(p):
    return -(p * safe(p)).sum(axis=1)


def modified(p, y):
    """Song and Mittal 2021."""
    rows = np.arange(len(y))
    value = -(p * safe(1 - p)).sum(axis=1) + p[rows, y] * safe(1 - p[rows, y])
    return value - (1 - p[rows, y]) * safe(p[rows, y])


def modified_as_coded(p, y):
    """The published code: index arrays where single entries were meant write whole columns."""
    reverse = 1 - p
    log_p, log_reverse = -safe(p), -safe(reverse)
    modified_p, modified_log = p.copy(), log_p.copy()
    modified_p[:, y] = reverse[:, y]
    modified_log[:, y] = log_p[:, y]
    del log_reverse  # is computed there and never used
    return (modified_p * modified_log).sum(axis=1)


def features(p, y):
    return {
        "correctness": (p.argmax(axis=1) == y).astype(np.int32),
        "confidence": p[np.arange(len(y)), y],
        "entropy": entropy(p),
        "m_entropy": modified_as_coded(p, y),
        "prob": p,
    }


def column(v):
    return v.reshape(len(v), -1).astype(np.float64)


def svc_case(model, net, data, c):
    case = f"svc_mia_{model}"
    write_network(case, "before.onnx", net)
    sets = {s: (outputs(net, data[f"{model}_x_{s}"]), data[f"y_{s}"]) for s in SIZES}
    n, h = SIZES["test"], SIZES["test"] // 2
    efficacy, privacy, margins, machines, stored = {}, {}, {}, {}, {}
    for s, (p, y) in sets.items():
        stored |= {f"{s}/{f}": v for f, v in features(p, y).items()}

    def part(s, a, b):
        p, y = sets[s]
        return features(p[a:b], y[a:b])

    def fit(members, others):
        x = np.concatenate([members, others])
        gamma = 1 / x.shape[1]
        return SVC(C=c, gamma=gamma, kernel="rbf").fit(x, np.r_[np.ones(len(members)), np.zeros(len(others))])

    for f in ("correctness", "confidence", "entropy", "m_entropy", "prob"):
        m = fit(column(part("retain", 0, n)[f]), column(part("test", 0, n)[f]))
        d = m.decision_function(column(part("forget", 0, None)[f]))
        efficacy[f] = float((d <= 0).mean())
        machines[f"efficacy/{f}/decision_forget"] = d
        p = fit(column(part("retain", 0, h)[f]), column(part("test", 0, h)[f]))
        seen = p.decision_function(column(part("retain", h, None)[f]))
        unseen = p.decision_function(column(part("test", h, None)[f]))
        privacy[f] = float(((seen > 0).mean() + (unseen <= 0).mean()) / 2)
        margins[f] = float(min(np.abs(np.r_[d, seen, unseen])))
    save(case, {
        "algorithm": "svc_mia", "model": model, "svc": {"C": c},
        "protocols": {"forget_efficacy": f"shadow_train = first {n} retain, shadow_test = test ({n})"},
        "result": {"forget_efficacy": efficacy, "training_privacy": privacy},
        "decision_margin_min": margins, "tolerance": {"features": 3e-5},
    }, features=stored, svc=machines)


def threshold(value, y, members):
    """Per class, the value with the best balanced accuracy, the first one among equals."""
    out = np.zeros(CLASSES)
    for k in range(CLASSES):
        tr, te = value[members & (y == k)], value[~members & (y == k)]
        best = 0.0
        for v in np.r_[tr, te]:
            accuracy = 0.5 * ((tr >= v).sum() / (len(tr) + 0.0) + (te < v).sum() / (len(te) + 0.0))
            if accuracy > best:
                out[k], best = v, accuracy
    return out


def threshold_case(model, net, data):
    case = f"threshold_mia_{model}"
    write_network(case, "before.onnx", net)
    half = SIZES["retain"] // 2
    names = {"shadow_train": f"retain[0:{half}]", "shadow_test": "test", "target_train": f"retain[{half}:{SIZES['retain']}]", "target_test": "forget"}
    sets = {}
    for role, name in names.items():
        s, _, span = name.partition("[")
        a, _, b = span.rstrip("]").partition(":")
        cut = slice(int(a), int(b)) if span else slice(None)
        sets[role] = outputs(net, data[f"{model}_x_{s}"][cut]), data[f"y_{s}"][cut]
    values = {
        "confidence": lambda p, y: p[np.arange(len(y)), y], "entropy": lambda p, y: -entropy(p), "m_entropy": lambda p, y: -modified(p, y),
    }
    right = [float((sets[r][0].argmax(axis=1) == sets[r][1]).mean()) for r in ("target_train", "target_test")]
    result, stored = {"correctness": [right[0], 1 - right[1]]}, {}
    for f, short in (("confidence", "conf"), ("entropy", "entr"), ("m_entropy", "m_entr")):
        of = {r: values[f](*sets[r]) for r in sets}
        y = np.r_[sets["shadow_train"][1], sets["shadow_test"][1]]
        member = np.arange(len(y)) < len(sets["shadow_train"][1])
        t = threshold(np.r_[of["shadow_train"], of["shadow_test"]], y, member)
        stored[f"thresholds_{short}"] = t
        result[f] = [float((of["target_train"] >= t[sets["target_train"][1]]).mean()), float((of["target_test"] < t[sets["target_test"][1]]).mean())]
    save(case, {"algorithm": "threshold_mia", "model": model, "sets": names, "result": result, "tolerance": {"features": 1e-5}}, features=stored)


def divergence_case(model, net, other, data):
    case = f"divergence_{model}"
    write_network(case, "gold.onnx", other)
    write_network(case, "unlearned.onnx", net)
    result = {}
    for s in SIZES:
        p, q = outputs(other, data[f"{model}_x_{s}"]), outputs(net, data[f"{model}_x_{s}"])
        kl = lambda a, b: (a * (np.log(a + 1e-20) - np.log(b + 1e-20))).sum(axis=1).mean()
        m = (p + q) / 2
        result[s] = {"kl_gold_to_unlearned": float(kl(p, q)), "js": float((kl(p, m) + kl(q, m)) / 2)}
    save(case, {"algorithm": "divergence", "model": model, "result": result, "tolerance": 2e-6})


def iou_case():
    masks, cases = {}, []
    for c, density in enumerate((0.1, 0.5, 0.93, 0.02, 0.0)):
        counts = np.zeros(4, int)
        for layer, shape in enumerate(((9, 4), (3, 5, 2, 2))):
            a, b = (RNG.random(shape) < density for _ in range(2))
            masks[f"c{c}_a{layer}"], masks[f"c{c}_b{layer}"] = a.astype(np.uint8), b.astype(np.uint8)
            counts += ((a & b).sum(), (a | b).sum(), a.sum(), b.sum())
        both, either, na, nb = (int(x) for x in counts)
        cases.append({
            "intersection": both, "union": either, "na": na, "nb": nb,
            "iou": both / either if either else 1.0, "iom_ours": both / min(na, nb) if min(na, nb) else 1.0,
        })
    save("iou", {"algorithm": "iou", "cases": cases}, masks=masks)


def least_square(a, b):
    """min over delta of sum (a-delta)+^2 + (b+delta)+^2, by bisection on the monotone derivative."""
    low, high = -b.max() - 1, a.max() + 1
    slope = lambda d: -np.maximum(a - d, 0).sum() + np.maximum(b + d, 0).sum()
    for _ in range(200):
        mid = (low + high) / 2
        low, high = (mid, high) if slope(mid) < 0 else (low, mid)
    d = (low + high) / 2
    return float((np.maximum(a - d, 0) ** 2).sum() + (np.maximum(b + d, 0) ** 2).sum())


def bound_case():
    arrays, cases = {}, []
    for c, (n, k, noise) in enumerate(((30, 7, 0.02), (80, 40, 0.1), (150, 15, 0.01), (60, 59, 0.3), (25, 1, 1.0))):
        u = RNG.normal(size=n)
        phi = u + noise * RNG.normal(size=n)
        arrays[f"c{c}/u"], arrays[f"c{c}/phi"] = u, phi
        s, t = np.abs(u), np.abs(phi)
        kept = np.zeros(n, bool)
        kept[np.argsort(-s, kind="stable")[:k]] = True
        gold = np.zeros(n, bool)
        gold[np.argsort(-t, kind="stable")[:k]] = True
        ranked = np.sort(s)[::-1]
        tau = (ranked[k - 1] + ranked[k]) / 2
        a, b = np.sort(s[kept] - tau), np.sort(tau - s[~kept])
        m = min(len(a), len(b))
        e, top = float(np.linalg.norm(s - t)), float(np.abs(s - t).max())
        phis = [least_square(a[:q], b[:q]) for q in range(1, m + 1)]
        q2 = max([q for q in range(1, m + 1) if phis[q - 1] <= e * e], default=0)
        cases.append({
            "n": n, "k": k, "E": e, "eps_max": top, "q_true": int((kept & ~gold).sum()),
            "q_inf": max([q for q in range(1, m + 1) if a[q - 1] + b[q - 1] <= 2 * top], default=0),
            "q_2": q2, "q_pair": int((np.cumsum((a[:m] + b[:m]) ** 2 / 2) <= e * e).sum()),
            "phi_first": phis[:8], "iou_bound": (k - q2) / (k + q2),
        })
    save("bound_masks", {"algorithm": "bound_masks", "cases": cases}, weights=arrays)


def main():
    data = {}
    for s, n in SIZES.items():
        data[f"mlp_x_{s}"] = RNG.normal(size=(n, 9)).astype(np.float32)
        data[f"cnn_x_{s}"] = RNG.normal(size=(n, 1, 6, 6)).astype(np.float32)
        right = outputs(network("mlp", 1), data[f"mlp_x_{s}"]).argmax(axis=1)  # more often so on retained samples
        data[f"y_{s}"] = np.where(RNG.random(n) < {"retain": 0.7, "forget": 0.5, "test": 0.4}[s], right, RNG.integers(0, CLASSES, n))
    for k in range(CLASSES):  # the thresholds need every class among the shadows
        data["y_retain"][k] = data["y_test"][k] = k
    OUT.mkdir(exist_ok=True)
    np.savez_compressed(OUT / "data.npz", **data)
    for model, c in (("mlp", 3), ("cnn", 10)):
        net = network(model, 1)
        svc_case(model, net, data, c)
        threshold_case(model, net, data)
        divergence_case(model, net, network(model, 1.3), data)
    iou_case()
    bound_case()


if __name__ == "__main__":
    main()
