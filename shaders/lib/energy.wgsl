// The energy network f (minus the energy) of one latent by one workgroup of 64: an MLP D → H → … → H → 1 with LAYERS
// hidden layers and leaky ReLUs, all its parameters in `model`, [out, in] row-major. The latent and the activations
// live in workgroup memory. Every invocation of the workgroup must call these functions.

const D: u32 = 32u;
const H: u32 = 64u;
const LAYERS: u32 = 1u;
const THREADS: u32 = 64u;
// The last hidden layer (0 where there is none: the code that uses it then does not run, but must compile).
const LAST: u32 = max(LAYERS, 1u) - 1u;

struct Params {
  // Places of the weights and biases of each linear layer in `model`.
  weight: array<vec4u, 2>,
  bias: array<vec4u, 2>,
  slope: f32,
  rows: u32,
  offset: u32,
  // The rest is for chains (ebm/langevin.wgsl); zero elsewhere.
  steps: u32,
  step_size: f32,
  noise: f32,
  seed_low: u32,
  seed_high: u32,
  stream: u32,
  low: f32,
  high: f32,
}

@group(0) @binding(0) var<storage, read> latents: array<f32>;
@group(0) @binding(1) var<storage, read> model: array<f32>;

var<workgroup> x: array<f32, D>;
// Pre-activations of each hidden layer (one spare, so that the length is never 0).
var<workgroup> h: array<array<f32, H>, LAYERS + 1u>;
// Gradient of f with respect to the pre-activations of one layer, and of the layer before.
var<workgroup> delta: array<array<f32, H>, 2>;
var<workgroup> partial: array<f32, THREADS>;

fn leaky(v: f32, slope: f32) -> f32 {
  return select(slope * v, v, v > 0.0);
}

fn weight_at(e: Params, layer: u32) -> u32 {
  return e.weight[layer >> 2u][layer & 3u];
}

fn bias_at(e: Params, layer: u32) -> u32 {
  return e.bias[layer >> 2u][layer & 3u];
}

// Pre-activations of all hidden layers from x.
fn run_layers(e: Params, lane: u32) {
  for (var layer = 0u; layer < LAYERS; layer++) {
    workgroupBarrier();
    let inputs = select(H, D, layer == 0u);
    for (var unit = lane; unit < H; unit += THREADS) {
      var sum = model[bias_at(e, layer) + unit];
      let row = weight_at(e, layer) + unit * inputs;
      if (layer == 0u) {
        for (var k = 0u; k < D; k++) {
          sum = fma(model[row + k], x[k], sum);
        }
      } else {
        for (var k = 0u; k < H; k++) {
          sum = fma(model[row + k], leaky(h[layer - 1u][k], e.slope), sum);
        }
      }
      h[layer][unit] = sum;
    }
  }
  workgroupBarrier();
}

// f(x), after run_layers; the same in every lane.
fn output(e: Params, lane: u32) -> f32 {
  let row = weight_at(e, LAYERS);
  var sum = 0.0;
  if (LAYERS == 0u) {
    for (var k = lane; k < D; k += THREADS) {
      sum = fma(model[row + k], x[k], sum);
    }
  } else {
    for (var k = lane; k < H; k += THREADS) {
      sum = fma(model[row + k], leaky(h[LAST][k], e.slope), sum);
    }
  }
  partial[lane] = sum;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      partial[lane] += partial[lane + half];
    }
  }
  workgroupBarrier();
  return partial[0] + model[bias_at(e, LAYERS)];
}

// After run_layers: back to the first layer, then `gradient_of_input` gives ∂f/∂x_k.
fn run_back(e: Params, lane: u32) {
  if (LAYERS == 0u) {
    return;
  }
  let last = weight_at(e, LAYERS);
  for (var unit = lane; unit < H; unit += THREADS) {
    delta[LAST & 1u][unit] = model[last + unit] * select(e.slope, 1.0, h[LAST][unit] > 0.0);
  }
  for (var layer = LAST; layer > 0u; layer--) {
    workgroupBarrier();
    for (var unit = lane; unit < H; unit += THREADS) {
      var sum = 0.0;
      for (var k = 0u; k < H; k++) {
        sum = fma(model[weight_at(e, layer) + k * H + unit], delta[layer & 1u][k], sum);
      }
      delta[(layer - 1u) & 1u][unit] = sum * select(e.slope, 1.0, h[layer - 1u][unit] > 0.0);
    }
  }
  workgroupBarrier();
}

fn gradient_of_input(e: Params, k: u32) -> f32 {
  if (LAYERS == 0u) {
    return model[weight_at(e, 0u) + k];
  }
  var sum = 0.0;
  for (var unit = 0u; unit < H; unit++) {
    sum = fma(model[weight_at(e, 0u) + unit * D + k], delta[0][unit], sum);
  }
  return sum;
}

fn load_latent(e: Params, row: u32, lane: u32) {
  for (var k = lane; k < D; k += THREADS) {
    x[k] = latents[e.offset + row * D + k];
  }
}
