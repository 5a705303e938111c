// y[i, j] = [i = j], n × n. One invocation per element.

struct Params {
  n: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.n * params.n) {
    y[id.x] = select(0.0, 1.0, id.x / params.n == id.x % params.n);
  }
}
