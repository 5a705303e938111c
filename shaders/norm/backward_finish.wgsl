// Sums the parts of backward_sums.wgsl: db[c] = Σ h, dw[c] = Σ h x̂. One invocation a channel.
//!include lib/index.wgsl

struct Params {
  channels: u32,
  parts: u32,
}

@group(0) @binding(0) var<storage, read> partial: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> dw: array<f32>;
@group(0) @binding(2) var<storage, read_write> db: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let c = flat_index(id, groups);
  if (c >= params.channels) {
    return;
  }
  var sums = vec2f();
  for (var p = 0u; p < params.parts; p++) {
    sums += partial[c * params.parts + p];
  }
  db[c] = sums.x;
  dw[c] = sums.y;
}
