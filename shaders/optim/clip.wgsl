// hyper[3] = min(1, limit / (‖g‖ + 1e-6)), the factor that clips the norm of all gradients together, as PyTorch's
// clip_grad_norm_. squares holds ‖g‖². One invocation.
//!include lib/nan.wgsl

struct Params {
  limit: f32,
}

@group(0) @binding(0) var<storage, read> squares: array<f32>;
@group(0) @binding(1) var<storage, read_write> hyper: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  hyper[3] = smaller(1.0, params.limit / (sqrt(squares[0]) + 1e-6));
}
