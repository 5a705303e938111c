// y[i, j] = scale · bytes[index[i], j]: rows of a table of unsigned bytes (packed four to a u32, little-endian) become
// f32. An index past the table reads its last row. One invocation an element of y.
//!include lib/divide.wgsl
//!include lib/index.wgsl

struct Params {
  rows: u32,
  width: u32,
  table_rows: u32,
  offset_index: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.rows * params.width) {
    return;
  }
  let place = quotient(i, params.width);
  let row = min(index[params.offset_index + place], params.table_rows - 1u);
  let at = row * params.width + i - place * params.width;
  y[i] = params.scale * f32((table[at >> 2u] >> ((at & 3u) * 8u)) & 255u);
}
