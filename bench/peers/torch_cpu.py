"""PyTorch's side of table.mts: reads requests as lines of JSON on stdin, answers in lines of JSON on stdout.

Threads: each workload runs with the number of threads that was faster when it was prepared, 1 or all.
Debian: apt-get install python3-torch libopenblas0-pthread
"""

import json
import os
import sys
import time

import torch
from torch.nn import functional as F

import eli_torch


class Eli:
    def __init__(self, inputs, way, **options):
        weights = [inputs[name] for name in ("w1", "b1", "w2", "b2")]
        latent = weights[0].shape[1]
        self.batches = list(zip(inputs["previous"], inputs["current"]))
        kinds = {
            "autograd": lambda **o: eli_torch.Autograd(latent, weights=weights, **o),
            "closed form": lambda **o: eli_torch.ClosedForm(latent, weights=weights, **o),
            "hidden layer": lambda **o: eli_torch.ClosedForm(latent, weights=weights, hidden_chain=True, **o),
        }
        self.make = kinds[way]
        self.check = options.pop("check")
        self.fit = self.make(**options)
        self.at = 0

    def run(self):
        self.fit.iterate(*self.batches[self.at % len(self.batches)])
        self.at += 1

    def result(self):
        options = dict(self.check)
        count = options.pop("iterations")
        fit = self.make(**options)
        for batch in self.batches[:count]:
            fit.iterate(*batch)
        return fit.state()


class Matmul:
    def __init__(self, inputs):
        self.a, self.b = inputs["a"], inputs["b"]
        self.c = self.a @ self.b

    def run(self):
        torch.mm(self.a, self.b, out=self.c)

    def result(self):
        return [self.c]


class Mlp:
    def __init__(self, inputs, steps):
        self.weights = [inputs[name] for name in ("w1", "b1", "w2", "b2")]
        self.images, self.labels = inputs["images"], inputs["labels"].long()
        self.steps = steps
        self.start()
        self.at = 0

    def start(self):
        self.parameters = [w.clone().requires_grad_() for w in self.weights]
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.1, momentum=0.9)

    def run(self):
        w1, b1, w2, b2 = self.parameters
        i = self.at % len(self.images)
        self.at += 1
        logits = F.linear(F.relu(F.linear(self.images[i], w1, b1)), w2, b2)
        self.optimizer.zero_grad()
        F.cross_entropy(logits, self.labels[i]).backward()
        self.optimizer.step()

    def result(self):
        self.start()
        self.at = 0
        for _ in range(self.steps):
            self.run()
        return [p.detach() for p in self.parameters]


class Conv:
    def __init__(self, inputs):
        self.x, self.w = inputs["x"].requires_grad_(), inputs["w"].requires_grad_()
        self.dy = inputs["dy"]

    def run(self):
        y = F.conv2d(self.x, self.w, padding=1)
        self.gradients = torch.autograd.grad(y, [self.x, self.w], self.dy)

    def result(self):
        self.run()
        return list(self.gradients)


class Chain:
    """x + 1, again and again."""

    def __init__(self, inputs, length):
        self.x, self.length = inputs["x"], length

    def run(self):
        self.y = self.x
        for _ in range(self.length):
            self.y = self.y + 1

    def result(self):
        self.run()
        return [self.y]


TASKS = {"eli": Eli, "matmul": Matmul, "mlp": Mlp, "conv": Conv, "chain": Chain}


def read(path, shapes):
    flat = torch.frombuffer(bytearray(open(path, "rb").read()), dtype=torch.float32)
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    return {name: part.clone().view(shape) for (name, shape), part in zip(shapes.items(), flat.split(sizes))}


def best_threads(work):
    best = None
    for threads in sorted({1, os.cpu_count()}):
        torch.set_num_threads(threads)
        work.run()
        seconds, end = [], time.perf_counter() + 0.3
        while not seconds or time.perf_counter() < end:
            start = time.perf_counter()
            work.run()
            seconds.append(time.perf_counter() - start)
        if best is None or min(seconds) < best[0]:
            best = (min(seconds), threads)
    return best[1]


def main():
    works = {}

    def prepare(id, task, options, path, shapes):
        work = TASKS[task](read(path, shapes), **options)
        works[id] = (work, best_threads(work))
        return {"threads": works[id][1]}

    def run(id, times):
        work, threads = works[id]
        torch.set_num_threads(threads)
        for _ in range(times):
            work.run()
        return {}

    def result(id, path):
        arrays = [a.contiguous() for a in works[id][0].result()]
        with open(path, "wb") as file:
            for a in arrays:
                file.write(a.numpy().tobytes())
        return {"sizes": [a.numel() for a in arrays]}

    print(json.dumps({"version": torch.__version__}), flush=True)
    requests = {"prepare": prepare, "run": run, "result": result}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(requests[request.pop("do")](**request)), flush=True)


main()
