#!/bin/bash
# All that is wanted from a machine with a GPU: what it is, whether every kernel is right there, and how fast.
#   bash bench/gpu.sh OUT
# With PyTorch (python3, or what PYTHON names) its times on the same GPU stand beside ours. A part that fails is named at
# the end, and the others still run. Some of an hour; the two whole runs of npm start are most of it.
set -u -o pipefail
out=${1:?name a folder for the results}
cd "$(dirname "$0")/.."
mkdir -p "$out" || exit 1
failed=()

# part NAME COMMAND…: shows what the command prints and keeps it in OUT/NAME.txt.
part() {
  local name=$1
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$out/$name.txt" || failed+=("$name")
}
eli() { node src/cli/eli.mjs "$@"; }

nvidia-smi 2>/dev/null | tee "$out/nvidia-smi.txt" # absent where the GPU is another maker's
node src/cli/setup.mjs || exit 1
part doctor eli doctor
part tests node kernels-test/run.mjs
part robustness-off node kernels-test/run.mjs --robustness off ops golden variants sampler
part variants eli bench "op: " --variants --json "$out/variants.json" --tuning "$out/tuning.json"
part bench eli bench --json "$out/bench.json" --picture "$out/roofline"
part bench-tuned eli bench --tuning "$out/tuning.json" --json "$out/bench-tuned.json" --compare "$out/bench.json"
part subgroup-matrices env ELI_SUBGROUP_MATRICES=on node kernels-test/run.mjs subgroup variants
part matrices env ELI_SUBGROUP_MATRICES=on node src/cli/eli.mjs bench "op: matmul" --variants --json "$out/matrices.json"
part pytorch npx tsx bench/peers/gpu.mts --json "$out/pytorch.json"
if npm --prefix bench/peers ci --no-audit --no-fund >"$out/peers-install.txt" 2>&1; then
  part peers npx tsx bench/peers/table.mts --json "$out/peers.json"
else
  failed+=(peers-install)
fi
part mnist-32 eli run mnist --out "$out/mnist-32"
part mnist-512 eli run mnist --latent 512 --out "$out/mnist-512"
part cnn eli train --out "$out/cnn"

if ((${#failed[@]})); then
  printf '\nfailed: %s\n' "${failed[*]}"
  exit 1
fi
printf '\nall parts ran; results are in %s\n' "$out"
