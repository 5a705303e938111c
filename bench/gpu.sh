#!/bin/bash
# All that is wanted from a machine with a GPU: what it is, whether every kernel is right there, and how fast.
#   bash bench/gpu.sh OUT
set -eu -o pipefail
out=${1:?name a folder for the results}
cd "$(dirname "$0")/.."
mkdir -p "$out"
node src/cli/setup.mjs
node src/cli/eli.mjs doctor | tee "$out/doctor.txt"
node kernels-test/run.mjs | tee "$out/tests.txt"
node src/cli/eli.mjs bench --json "$out/bench.json" --picture "$out/roofline" | tee "$out/bench.txt"
node src/cli/eli.mjs run mnist --out "$out/mnist-32" | tee "$out/mnist-32.txt"
node src/cli/eli.mjs run mnist --latent 512 --out "$out/mnist-512" | tee "$out/mnist-512.txt"
node src/cli/eli.mjs train --out "$out/cnn" | tee "$out/cnn.txt"
