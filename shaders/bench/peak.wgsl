// The highest rate of multiply-adds that an adapter reaches: ROUNDS × 8 on each of 8 independent numbers, few enough for
// any register file and enough to hide the latency. The result is stored so that nothing can be left out. One invocation per element of y.

override ROUNDS: u32 = 64u;

struct Params {
  scale: f32,
  shift: f32,
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  var acc = array<f32, 8>();
  for (var i = 0u; i < 8u; i++) {
    acc[i] = f32(id.x + i);
  }
  let scale = params.scale;
  let shift = params.shift;
  for (var round = 0u; round < ROUNDS; round++) {
    for (var repeat = 0u; repeat < 8u; repeat++) {
      for (var i = 0u; i < 8u; i++) {
        acc[i] = fma(acc[i], scale, shift);
      }
    }
  }
  var total = 0.0;
  for (var i = 0u; i < 8u; i++) {
    total += acc[i];
  }
  y[id.x] = total;
}
