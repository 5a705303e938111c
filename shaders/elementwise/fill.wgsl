// y[offset + i] = bits, i < n. The bits are those of an f32, i32 or u32.
// One invocation an element.
//!include lib/index.wgsl

struct Params {
  n: u32,
  offset: u32,
  bits: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.n) {
    y[params.offset + i] = params.bits;
  }
}
