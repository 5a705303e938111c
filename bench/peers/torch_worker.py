"""PyTorch's side of the comparisons: reads requests as lines of JSON on stdin, answers in lines of JSON on stdout.

On the CPU each workload runs with the number of threads that was faster when it was prepared, 1 or all. On a GPU an
iteration or step runs eagerly, compiled by torch.compile, or captured in a CUDA graph and replayed.
Debian: apt-get install python3-torch libopenblas0-pthread
"""

import json
import os
import sys
import time

import torch
from torch.nn import functional as F

from eli_torch import WAYS
from resnet_torch import ResNet

PARAMETERS = ("w1", "b1", "w2", "b2")


def runner(mode, fn, example, reset):
    """`fn` of tensors shaped as the examples, run in a mode; `reset` undoes what warming up did."""
    if mode == "compile":
        return torch.compile(fn)
    if mode == "graph":
        buffers = [t.clone() for t in example]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                fn(*buffers)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            fn(*buffers)
        reset()

        def replay(*args):
            for buffer, arg in zip(buffers, args):
                buffer.copy_(arg)
            graph.replay()

        return replay
    return fn


class Eli:
    def __init__(self, inputs, way, mode, check, **options):
        self.weights = [inputs[name] for name in PARAMETERS]
        self.batches = list(zip(inputs["previous"], inputs["current"]))
        self.check, self.way, self.mode = check, way, mode
        _, self.step = self.make(options)
        self.at = 0

    def make(self, options):
        w1 = self.weights[0]
        fit = WAYS[self.way](w1.shape[1], device=w1.device, weights=self.weights, **options)
        return fit, runner(self.mode, fit.iterate, self.batches[0], lambda: fit.reset(self.weights))

    def run(self):
        self.step(*self.batches[self.at % len(self.batches)])
        self.at += 1

    def result(self):
        options = dict(self.check)
        count = options.pop("iterations")
        fit, step = self.make(options)
        for batch in self.batches[:count]:
            step(*batch)
        return fit.state()


class Matmul:
    def __init__(self, inputs, rows):
        self.a, self.b, self.rows = inputs["a"], inputs["b"], rows
        self.c = self.a @ self.b

    def run(self):
        torch.mm(self.a, self.b, out=self.c)

    def result(self):
        self.run()
        return [self.c[: self.rows]]


class Mlp:
    def __init__(self, inputs, steps):
        self.weights = [inputs[name] for name in PARAMETERS]
        self.images, self.labels = inputs["images"], inputs["labels"].long()
        self.steps = steps
        self.start()

    def start(self):
        self.parameters = [w.clone().requires_grad_() for w in self.weights]
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.1, momentum=0.9)
        self.at = 0

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


class ResNetStep:
    """A training step of ResNet-32: cross-entropy, SGD with momentum. Its result: what the first step changed."""

    def __init__(self, inputs, blocks, classes, mode, sgd):
        self.images, self.labels = inputs.pop("images"), inputs.pop("labels").long()
        self.weights, self.sgd, self.mode = inputs, sgd, mode
        self.shape = (blocks, classes)
        _, self.step = self.make()

    def make(self):
        model = ResNet(*self.shape).to(self.images.device, self.images.dtype)
        # Statistics and counts of the normalisations stay as they are made.
        model.load_state_dict(self.weights, strict=False)
        optimizer = torch.optim.SGD(model.parameters(), **self.sgd)
        first = {name: t.clone() for name, t in model.state_dict().items()}

        def reset():
            with torch.no_grad():
                for name, t in model.state_dict().items():
                    t.copy_(first[name])
            for state in optimizer.state.values():
                state["momentum_buffer"].zero_()

        def step(images, labels):
            optimizer.zero_grad()
            F.cross_entropy(forward(images), labels).backward()
            optimizer.step()

        # The optimiser and the backward pass of a compiled network run as they do for anyone.
        forward = torch.compile(model) if self.mode == "compile" else model
        run = runner("graph", step, (self.images, self.labels), reset) if self.mode == "graph" else step
        return model, run

    def run(self):
        self.step(self.images, self.labels)

    def result(self):
        model, step = self.make()
        step(self.images, self.labels)
        return [(p.detach() - self.weights[name]) for name, p in model.named_parameters()]


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


TASKS = {"eli": Eli, "matmul": Matmul, "mlp": Mlp, "conv": Conv, "resnet": ResNetStep, "chain": Chain}
DTYPES = {"f16": torch.float16, "f32": torch.float32, "f64": torch.float64}


class Prepared:
    """A workload with its device and settings, which are the process' own and set before each use."""

    def __init__(self, task, options, arrays, device="cpu", dtype="f32", tf32=False):
        self.device, self.tf32, self.threads = device, tf32, None
        self.use()
        inputs = {name: a.to(device, DTYPES[dtype]) for name, a in arrays.items()}
        self.work = TASKS[task](inputs, **options)
        if device == "cpu":
            self.threads = self.best_threads()

    def use(self):
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32
        torch.backends.cudnn.benchmark = True
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def run(self, times):
        self.use()
        for _ in range(times):
            self.work.run()
        if self.device != "cpu":
            torch.cuda.synchronize()

    def result(self):
        self.use()
        return [a.double().cpu().contiguous() for a in self.work.result()]

    def best_threads(self):
        best = None
        for threads in sorted({1, os.cpu_count()}):
            torch.set_num_threads(threads)
            self.work.run()
            seconds, end = [], time.perf_counter() + 0.3
            while not seconds or time.perf_counter() < end:
                start = time.perf_counter()
                self.work.run()
                seconds.append(time.perf_counter() - start)
            if best is None or min(seconds) < best[0]:
                best = (min(seconds), threads)
        return best[1]


def read(path, shapes):
    with open(path, "rb") as file:
        flat = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    return {name: part.clone().view(shape) for (name, shape), part in zip(shapes.items(), flat.split(sizes))}


def main():
    # Whatever a library prints goes where it does not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    prepared = {}

    def prepare(id, path, shapes, **work):
        prepared[id] = Prepared(arrays=read(path, shapes), **work)
        return {}

    def run(id, times):
        prepared[id].run(times)
        return {}

    def result(id, path):
        arrays = prepared[id].result()
        with open(path, "wb") as file:
            for a in arrays:
                file.write(a.numpy().tobytes())
        return {"sizes": [a.numel() for a in arrays]}

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    answer({"version": torch.__version__, "cuda": cuda, "compile": hasattr(torch, "compile")})
    requests = {"prepare": prepare, "run": run, "result": result}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(requests[request.pop("do")](**request))
        except Exception as error:  # told, not fatal: other workloads may do
            answer({"error": f"{type(error).__name__}: {error}"})


main()
