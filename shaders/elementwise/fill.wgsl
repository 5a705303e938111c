// y[offset + i] = bits, i < n: those of an f32, i32 or u32. With HALF = 1, y holds f16 and gets `value`.
// One invocation per element.
//!include lib/index.wgsl

// f16 with HALF = 1.
alias Element = u32;

override HALF: u32 = 0u;

struct Params {
  n: u32,
  offset: u32,
  bits: u32,
  value: f32,
}

@group(0) @binding(0) var<storage, read_write> y: array<Element>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.n) {
    y[params.offset + i] = select(Element(params.bits), Element(params.value), HALF == 1u);
  }
}
