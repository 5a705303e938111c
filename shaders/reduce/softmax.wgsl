// Row-wise over x [rows, n], dense:  m = max x,  s = Σ e^(x - m)
//   softmax: y = e^(x - m) / s        logSoftmax: y = x - m - log s        logSumExp: y[row] = m + log s
// ROWS × THREADS invocations: THREADS work on one row.
//!include lib/functions.wgsl
//!include lib/reduce.wgsl

override KIND: u32 = 0u;
// Values of KIND; src/ops/softmax.ts has the same names and numbers.
const KIND_SOFTMAX = 0u;
const KIND_LOG_SOFTMAX = 1u;
const KIND_LOG_SUM_EXP = 2u;

struct Params {
  rows: u32,
  n: u32,
  offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(THREADS, ROWS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = row_index(group, local, groups);
  let lane = local.x;
  let live = row < params.rows;
  let n = select(0u, params.n, live);
  let base = params.offset + select(0u, row, live) * params.n;
  var largest = special(MINUS_INFINITY_BITS, params.n);
  for (var i = lane; i < n; i += THREADS) {
    largest = larger(largest, x[base + i]);
  }
  largest = workgroup_max(largest, lane);
  if (KIND == KIND_LOG_SUM_EXP) {
    // Finite, so that a row with an infinity has the logarithm ∞ or −∞, not that of ∞ − ∞.
    largest = smaller(larger(largest, -3.4028234e38), 3.4028234e38);
  }
  var sum = 0.0;
  for (var first = lane; first < n; first += BLOCK * THREADS) {
    let last = min(first + BLOCK * THREADS, n);
    var subtotal = 0.0;
    for (var i = first; i < last; i += THREADS) {
      subtotal += exp(x[base + i] - largest);
    }
    sum += subtotal;
  }
  sum = workgroup_sum(sum, lane);
  // A row with a NaN or ∞ has no softmax; some drivers give e^NaN as a number.
  sum = select(special(NAN_BITS, row), sum, KIND == KIND_LOG_SUM_EXP || is_finite(largest));
  if (KIND == KIND_LOG_SUM_EXP) {
    if (live && lane == 0u) {
      y[row] = largest + logarithm(sum);
    }
    return;
  }
  let log_sum = logarithm(sum);
  for (var i = lane; i < n; i += THREADS) {
    let v = x[base + i] - largest;
    if (KIND == KIND_LOG_SOFTMAX) {
      y[row * params.n + i] = v - log_sum;
    } else {
      y[row * params.n + i] = exp(v) / sum;
    }
  }
}
