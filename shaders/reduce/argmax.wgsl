// y[r] = index of the first NaN of row r, else of the first of its largest elements; x is [rows, n], dense. One invocation per row.
//!include lib/index.wgsl
//!include lib/nan.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

struct Params {
  rows: u32,
  n: u32,
  offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = flat_index(id, groups);
  if (row >= params.rows) {
    return;
  }
  let base = params.offset + row * params.n;
  var best = f32(x[base]);
  var at = 0u;
  for (var i = 1u; i < params.n; i++) {
    let v = f32(x[base + i]);
    if (!is_nan(best) && (is_nan(v) || v > best)) {
      best = v;
      at = i;
    }
  }
  y[row] = at;
}
