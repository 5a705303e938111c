// y[r, j] += Σ over i with index[i] = r of x[i, j], in the order of i: the same bits each time, without atomics.
// y starts at zero. An index past the end is reported and adds nothing. One invocation per element (i, j) of x; that of the first i with a given index adds them all. Work
// grows with rows², which suits mini-batches.
//!include lib/divide.wgsl
//!include lib/faults.wgsl
//!include lib/index.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

struct Params {
  rows: u32,
  width: u32,
  table_rows: u32,
  offset_index: u32,
  offset_x: u32,
  fault: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<Real>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>, 5>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.rows * params.width) {
    return;
  }
  let mine = quotient(i, params.width);
  let j = i - mine * params.width;
  let row = index[params.offset_index + mine];
  if (row >= params.table_rows) {
    report_index(row, params.table_rows);
    return;
  }
  for (var k = 0u; k < mine; k++) {
    if (index[params.offset_index + k] == row) {
      return;
    }
  }
  var sum = 0.0;
  for (var k = mine; k < params.rows; k++) {
    if (index[params.offset_index + k] == row) {
      sum += f32(x[params.offset_x + k * params.width + j]);
    }
  }
  y[row * params.width + j] = Real(sum);
}
