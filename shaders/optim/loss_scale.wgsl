// Dynamic loss scaling (Micikevicius et al., Mixed Precision Training, ICLR 2018), with the rule of PyTorch's GradScaler.
// Gradients g came out multiplied by the scale s; squares holds ‖s g‖². If that is finite,
//   hyper[3] = min(1, limit / (‖g‖ + 1e-6)) / s  (without CLIP = 1:  1 / s),
// and after `interval` such steps in a row s doubles. Otherwise hyper[3] = 0, which tells the other kernels to skip this
// step, and s halves. state = (s, steps since the last change of s, steps left out). One invocation.
//!include lib/nan.wgsl

override CLIP: u32 = 0u;

struct Params {
  limit: f32,
  interval: f32,
}

@group(0) @binding(0) var<storage, read> squares: array<f32>;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read_write> hyper: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

// Bounds of s, far from where f16 gradients are useful; within them neither s nor 1 / s leaves f32.
const SMALLEST = 0x1p-60;
const LARGEST = 0x1p+60;

@compute @workgroup_size(1)
fn main() {
  let scale = state[0];
  // By its bits: compilers may assume that a float is neither infinite nor NaN.
  let finite = (bitcast<u32>(squares[0]) & 0x7f800000u) != 0x7f800000u;
  if (!finite) {
    hyper[3] = 0.0;
    state[0] = max(0.5 * scale, SMALLEST);
    state[1] = 0.0;
    state[2] += 1.0;
    return;
  }
  var factor = 1.0;
  if (CLIP == 1u) {
    factor = smaller(1.0, params.limit / (sqrt(squares[0]) / scale + 1e-6));
  }
  hyper[3] = factor / scale;
  let steps = state[1] + 1.0;
  let grow = steps >= params.interval;
  state[0] = select(scale, min(2.0 * scale, LARGEST), grow);
  state[1] = select(steps, 0.0, grow);
}
