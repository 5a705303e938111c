"""Time of an aligner iteration in PyTorch on the CPU, the original's way: autograd for the chain and for the update.

Usage: python3 bench/peers/eli_fit.py [--latent 32] [--iterations 300] [--threads 1 2]
Debian: apt-get install python3-torch libopenblas0-pthread
"""

import argparse
import time

import torch

from eli_torch import Autograd

parser = argparse.ArgumentParser()
parser.add_argument("--latent", type=int, default=32)
parser.add_argument("--iterations", type=int, default=300)
parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
args = parser.parse_args()

BATCH, SAMPLES = 128, 29404


def fit(iterations):
    torch.manual_seed(1)
    previous = torch.randn(SAMPLES, args.latent)
    current = previous + 0.3 * torch.randn(SAMPLES, args.latent) + 0.3
    aligner = Autograd(args.latent, decay=0.99 if args.latent == 32 else 0.89)
    start = time.perf_counter()
    for _ in range(iterations):
        index = torch.randint(SAMPLES, (BATCH,))
        aligner.iterate(previous[index], current[index])
    return (time.perf_counter() - start) / iterations


best = None
for threads in args.threads:
    torch.set_num_threads(threads)
    fit(20)
    seconds = min(fit(args.iterations) for _ in range(3))
    best = seconds if best is None else min(best, seconds)
    print(f"PyTorch {torch.__version__}, {threads} threads, d = {args.latent}: {1 / seconds:.0f} iterations/s")
whole = 17100 if args.latent == 32 else 8500
print(f"whole fit of {whole} iterations: {best * whole:.1f} s")
