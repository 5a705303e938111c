// One optimiser step over all parameters p with gradients g, flat buffers of n elements. KIND selects:
//   SGD:        g += wd p;  m = μ m + g;  p -= lr (nesterov ? g + μ m : m)
//   RMSprop:    g += wd p;  v = α v + (1 - α) g²;  d = g / (√v + ε);  μ > 0: m = μ m + d, d = m;  p -= lr d
//   Adam:       g += wd p;  m = β₁ m + (1 - β₁) g;  v = β₂ v + (1 - β₂) g²;  p -= lr / c₁ · m / (√v / √c₂ + ε)
//   AdamW:      p *= 1 - lr wd;  then as Adam without wd
// as in PyTorch 1.13 (torch.optim). hyper holds lr, so that it can change without a new capture, Adam's bias
// corrections c₁ = 1 - β₁ᵗ, c₂ = 1 - β₂ᵗ, and with CLIP = 1 the factor of g that clip.wgsl or loss_scale.wgsl found; with
// SCALED = 1 a factor of 0 skips the step. With GROUPED = 1 each
// block of 64 elements, which never holds parts of two parameters, has its own factor of lr and its own wd. One invocation
// four elements.
//!include lib/index.wgsl

override KIND: u32 = 0u;
// Values of KIND; src/optim/optimizer.ts has the same names and numbers.
const KIND_SGD = 0u;
const KIND_RMSPROP = 1u;
const KIND_ADAM = 2u;
const KIND_ADAMW = 3u;
override CLIP: u32 = 0u;
override GROUPED: u32 = 0u;
override SCALED: u32 = 0u;

struct Params {
  // Fours of elements.
  n: u32,
  nesterov: u32,
  momentum: f32,
  beta: f32,
  one_minus_beta: f32,
  one_minus_momentum: f32,
  epsilon: f32,
  weight_decay: f32,
}

@group(0) @binding(0) var<storage, read_write> p: array<vec4f>;
@group(0) @binding(1) var<storage, read> g: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> hyper: array<f32>;
// (factor of lr, wd) of each block; not read unless GROUPED = 1.
@group(0) @binding(5) var<storage, read> blocks: array<vec2f>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  if (SCALED == 1u && hyper[3] == 0.0) {
    return;
  }
  var rate = hyper[0];
  var decay = params.weight_decay;
  if (GROUPED == 1u) {
    let own = blocks[i / 16u];
    rate *= own.x;
    decay = own.y;
  }
  var value = p[i];
  var gradient = g[i];
  if (CLIP == 1u) {
    gradient *= hyper[3];
  }
  if (KIND == KIND_ADAMW) {
    value -= rate * decay * value;
  } else {
    gradient += decay * value;
  }
  if (KIND == KIND_SGD) {
    let momentum = params.momentum * m[i] + gradient;
    m[i] = momentum;
    value -= rate * select(momentum, gradient + params.momentum * momentum, params.nesterov == 1u);
  } else {
    let square = params.beta * v[i] + params.one_minus_beta * gradient * gradient;
    v[i] = square;
    if (KIND == KIND_RMSPROP) {
      var step = gradient / (sqrt(square) + params.epsilon);
      if (params.momentum > 0.0) {
        step += params.momentum * m[i];
        m[i] = step;
      }
      value -= rate * step;
    } else {
      let first = params.momentum * m[i] + params.one_minus_momentum * gradient;
      m[i] = first;
      value -= rate / hyper[1] * first / (sqrt(square) / sqrt(hyper[2]) + params.epsilon);
    }
  }
  p[i] = value;
}
