// y[i] = f32(x[i]); x holds u32 (SIGNED = 0) or i32 (SIGNED = 1). One invocation an element.
//!include lib/index.wgsl

override SIGNED: u32 = 0u;

struct Params {
  n: u32,
  offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.n) {
    let bits = x[params.offset + i];
    y[i] = select(f32(bits), f32(bitcast<i32>(bits)), SIGNED == 1u);
  }
}
