"""Times plain PyTorch loops of the methods without optimizer steps, for BenchmarkUnlearners beside them.

    python reference_times.py [lenet-5|resnet-18] [--threads 1] [--samples 2000] [--export model.onnx]

The loops are written as the published code is: one backward pass per sample for Fisher and influence, one per class and
batch of 32 for Fisher-new, double backward for certified unlearning, batches of 128 for SSD, all taken from a DataLoader.
Inputs are random: times do not depend on them. --export
writes the network for the benchmark (UNLEARN_BENCH_MODEL). Prints milliseconds, the median of three runs.
"""
import argparse
import pathlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "models" / "make"))
import nets  # noqa: E402


def flat(grads):
    return torch.cat([g.reshape(-1) for g in grads])


def batches(x, y, size):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=size)


def mean_gradient(model, x, y, size=256):
    params = list(model.parameters())
    total = [torch.zeros_like(p) for p in params]
    for bx, by in batches(x, y, size):
        grads = torch.autograd.grad(F.cross_entropy(model(bx), by, reduction="sum"), params)
        for t, g in zip(total, grads):
            t += g
    return [t / len(x) for t in total]


def fisher(model, retain, forget):
    x, y = retain
    total = [torch.zeros_like(p) for p in model.parameters()]
    for bx, by in batches(x, y, 1):
        loss = -F.log_softmax(model(bx), dim=1)[0, by[0]]
        model.zero_grad()
        loss.backward()
        for t, p in zip(total, model.parameters()):
            t += (p.grad + 1e-8) ** 2 / len(x)
    with torch.no_grad():
        for t, p in zip(total, model.parameters()):
            p += torch.clamp(torch.sqrt(1 / t), max=1e-3) * torch.randn_like(p)


def fisher_new(model, retain, forget, classes=10):
    x, y = retain
    total = [torch.zeros_like(p) for p in model.parameters()]
    count = 0
    for bx, by in batches(x, y, 32):
        out = model(bx)
        prob = F.softmax(out, dim=-1).detach()
        for c in range(classes):
            loss = F.cross_entropy(out, torch.full_like(by, c))
            model.zero_grad()
            loss.backward(retain_graph=True)
            for t, p in zip(total, model.parameters()):
                t += prob[:, c].mean() * p.grad.pow(2)
        count += 1
    with torch.no_grad():
        for t, p in zip(total, model.parameters()):
            var = 1e-6 * torch.clamp(1 / (t / count + 1e-8), max=1e3)
            p += torch.sqrt(var) * torch.randn_like(p)


def influence(model, retain, forget, n=1000):
    params = list(model.parameters())
    rho = len(forget[0]) / (len(forget[0]) + len(retain[0]))
    v = rho * (flat(mean_gradient(model, *forget)) - flat(mean_gradient(model, *retain)))
    o, k = None, v.clone()
    for i, (bx, by) in enumerate(batches(*retain, 1)):
        g = flat(torch.autograd.grad(F.cross_entropy(model(bx), by), params))
        with torch.no_grad():
            if o is None:
                o = g
            else:
                t = torch.dot(o, g)
                k -= torch.dot(k, g) / (n + t) * o
                o = o - t / (n + t) * o
        if i > n:
            break


def certified(model, retain, forget, s1=2, s2=None, batch=128, scale=1000.0, decay=5e-4, gamma=1e-2):
    s2 = s2 or STEPS
    params = list(model.parameters())
    g = mean_gradient(model, *retain)
    g = [a + decay * p.detach() for a, p in zip(g, params)]
    x, y = retain
    batch = min(batch, len(x))
    total = [torch.zeros_like(p) for p in params]
    for _ in range(s1):
        h = [a.clone() for a in g]
        for _ in range(s2):
            rows = torch.randint(len(x), (batch,))
            loss = F.cross_entropy(model(x[rows]), y[rows]) + (decay + gamma) / 2 * sum((p * p).sum() for p in params)
            first = torch.autograd.grad(loss, params, create_graph=True)
            hv = torch.autograd.grad(sum((a * b).sum() for a, b in zip(first, h)), params)
            h = [a + b - c / scale for a, b, c in zip(h, g, hv)]
        total = [t + a / (s1 * scale) for t, a in zip(total, h)]
    with torch.no_grad():
        for p, t in zip(params, total):
            p -= t


def ssd(model, retain, forget):
    def importance(x, y):
        total = [torch.zeros_like(p) for p in model.parameters()]
        count = 0
        for bx, by in batches(x, y, 128):
            model.zero_grad()
            F.cross_entropy(model(bx), by).backward()
            for t, p in zip(total, model.parameters()):
                t += p.grad.pow(2)
            count += 1
        return [t / count for t in total]

    f = importance(*forget)
    d = importance(torch.cat([retain[0], forget[0]]), torch.cat([retain[1], forget[1]]))
    with torch.no_grad():
        for p, a, b in zip(model.parameters(), f, d):
            chosen = a > 10 * b
            p[chosen] *= torch.clamp(b[chosen] / a[chosen], max=1)


STEPS = 50  # of certified unlearning, twice
METHODS = {"fisher": fisher, "fisher-new": fisher_new, "iu": influence, "cu": certified, "ssd": ssd}


def main():
    arg = argparse.ArgumentParser()
    arg.add_argument("net", nargs="?", default="lenet-5", choices=["lenet-5", "resnet-18"])
    arg.add_argument("--threads", type=int, default=1)
    arg.add_argument("--samples", type=int, default=2000)
    arg.add_argument("--runs", type=int, default=3)
    arg.add_argument("--methods", default=",".join(METHODS))
    arg.add_argument("--export")
    arg.add_argument("--cpu", action="store_true", help="time of the processor instead of the clock: for busy machines")
    arg.add_argument("--steps", type=int, default=STEPS)
    a = arg.parse_args()
    globals()["STEPS"] = a.steps
    clock = time.process_time if a.cpu else time.perf_counter
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model, shape = (nets.LeNet5(), (1, 28, 28)) if a.net == "lenet-5" else (nets.ResNet18(), (3, 32, 32))
    model.eval()
    if a.export:
        torch.onnx.export(model, (torch.zeros(1, *shape),), a.export, dynamo=False, input_names=["x"], output_names=["logits"],
                          dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}}, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE)
    x, y = torch.randn(a.samples, *shape), torch.randint(10, (a.samples,))
    cut = a.samples // 10
    forget, retain = (x[:cut], y[:cut]), (x[cut:], y[cut:])
    state = {k: v.clone() for k, v in model.state_dict().items()}
    for name in a.methods.split(","):
        times = []
        for _ in range(a.runs):
            model.load_state_dict(state)
            start = clock()
            METHODS[name](model, retain, forget)
            times.append(1e3 * (clock() - start))
        print(f"{name:12s} {statistics.median(times):10.1f} ms", flush=True)


main()
