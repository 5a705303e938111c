// y[i, j] = table[index[i], j] for i < rows, j < width; elements of any type. An index past the table gives a row of
// zeros and is reported. One invocation per element of y.
//!include lib/divide.wgsl
//!include lib/faults.wgsl
//!include lib/index.wgsl

// 32 bits of any type, four of them, or f16.
alias Element = u32;

struct Params {
  rows: u32,
  width: u32,
  table_rows: u32,
  offset_table: u32,
  offset_index: u32,
  fault: u32,
}

@group(0) @binding(0) var<storage, read> table: array<Element>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>, 5>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.rows * params.width) {
    return;
  }
  let place = quotient(i, params.width);
  let row = index[params.offset_index + place];
  if (row >= params.table_rows) {
    report_index(row, params.table_rows);
    y[i] = Element();
    return;
  }
  y[i] = table[params.offset_table + row * params.width + i - place * params.width];
}
