// Softmax cross-entropy over logits x [rows, n] (dense) and targets t [rows] (class indices):
//   BACKWARD = 0:  y[r] = log Σ_i e^(x[r,i]) - x[r, t[r]]
//   BACKWARD = 1:  y[r, i] = (softmax(x[r])[i] - [i = t[r]]) · g[r]
// One invocation per row: the classes of a classifier are few. A target outside 0..n-1 is reported and gives NaN.
//!include lib/faults.wgsl
//!include lib/functions.wgsl

override BACKWARD: u32 = 0u;

struct Params {
  rows: u32,
  n: u32,
  offset: u32,
  offset_target: u32,
  offset_grad: u32,
  stride_grad: u32,
  fault: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<u32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> faults: array<atomic<u32>, 5>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) {
    return;
  }
  let base = params.offset + row * params.n;
  let label = t[params.offset_target + row];
  var largest = x[base];
  for (var i = 1u; i < params.n; i++) {
    largest = larger(largest, x[base + i]);
  }
  var sum = 0.0;
  for (var i = 0u; i < params.n; i++) {
    sum += exp(x[base + i] - largest);
  }
  // Logits with a NaN or ∞ have no softmax; some drivers give e^NaN as a number.
  sum = select(special(NAN_BITS, row), sum, is_finite(largest));
  if (BACKWARD == 0u) {
    if (label >= params.n) {
      report_index(label, params.n);
      y[row] = special(NAN_BITS, row);
    } else {
      y[row] = logarithm(sum) + (largest - x[base + label]);
    }
    return;
  }
  let weight = g[params.offset_grad + row * params.stride_grad];
  for (var i = 0u; i < params.n; i++) {
    y[row * params.n + i] = (exp(x[base + i] - largest) / sum - select(0.0, 1.0, i == label)) * weight;
  }
}
