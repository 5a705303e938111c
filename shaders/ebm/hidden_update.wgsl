enable subgroups;
// Last of the kernels of an aligner iteration in the hidden layer (src/ebm/hidden.ts describes them all): gradient
// of
//   L = mean f(x_sampled) - mean f(x_previous)        (f = minus the energy)
// with respect to W1 [H, d], b1 [H], w2 [H] (that of b2 is exactly 0), then RMSprop and the moving average in place.
//   ∂L/∂W1 = 1/B Σ_b ( s_b ⊗ x_b - s'_b ⊗ p_b )    (s at the chain's end, s' at p = previous)
// with the chain's end x_b = x0_b + ε y_b, y = W1ᵀ Σ_t s_t, a matrix product made before, and s = w2 ∘ φ'(h) from the
// pre-activations: those of the chains' ends, and those of the previous latents that hidden_forward.wgsl has made.
// Everything about column k of W1 needs column k only, so each subgroup owns COLUMNS columns and no one else reads
// them. Hidden units lie across lanes, PACK neighbouring ones together; of LANES samples at a time each lane loads one,
// and shuffles hand them around. The first workgroup does b1, w2 and the loss.

const H: u32 = 64u;
const LANES: u32 = 8u;
const COLUMNS: u32 = 8u;
// Neighbouring units of a lane, which are loaded and computed with together: vec4f and 4, or f32 and 1.
alias Pack = vec4f;
const PACK: u32 = 4u;

// Packs of a lane, and of all lanes.
const PACKS: u32 = H / LANES / PACK;
const ROW: u32 = H / PACK;

struct Params {
  d: u32,
  batch: u32,
  pitch: u32,
  size: u32,
  weight: u32,
  bias: u32,
  out: u32,
  step_size: f32,
  slope: f32,
  learning_rate: f32,
  alpha: f32,
  epsilon: f32,
  ema: f32,
  // Mini-batches in order, and places in losses.
  window: u32,
  // LANES again: a bound that is not a constant keeps compilers from unrolling, which here costs minutes and gains nothing.
  lanes: u32,
}

@group(0) @binding(0) var<storage, read> current: array<f32>;
@group(0) @binding(1) var<storage, read> previous: array<f32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> counter: array<u32>;
// Pre-activations of the chains' ends [batch, H]; then w2; then pre-activations of the previous latents [batch, H].
@group(0) @binding(4) var<storage, read> ends: array<Pack>;
// y transposed: [d, pitch].
@group(0) @binding(5) var<storage, read> way: array<f32>;
// Parameters; `size` on, in the same layout, running means of squared gradients; then moving averages of the parameters;
// then gradients, for a while. In one buffer, since adapters need not offer more than eight.
@group(0) @binding(6) var<storage, read_write> state: array<Pack>;
@group(0) @binding(7) var<storage, read_write> losses: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

// Where in `state` the gradients begin.
fn gradients() -> u32 {
  return 3u * (params.size / PACK);
}

// A lane's units in row `row` of `ends`, and of the previous latents' pre-activations.
fn end_of(row: u32, lane: u32) -> array<Pack, PACKS> {
  var h: array<Pack, PACKS>;
  for (var q = 0u; q < PACKS; q++) {
    h[q] = ends[row * ROW + q * LANES + lane];
  }
  return h;
}

fn previous_of(row: u32, lane: u32) -> array<Pack, PACKS> {
  var h: array<Pack, PACKS>;
  for (var q = 0u; q < PACKS; q++) {
    h[q] = ends[(params.batch + 1u + row) * ROW + q * LANES + lane];
  }
  return h;
}

// Elements by RMSprop (Hinton's lecture 6e, as in PyTorch: the root is taken before epsilon is added).
fn descend(at: u32, gradient: Pack) {
  let at_square = params.size / PACK + at;
  let at_average = 2u * (params.size / PACK) + at;
  let square = params.alpha * state[at_square] + (1.0 - params.alpha) * gradient * gradient;
  state[at_square] = square;
  let value = state[at] - params.learning_rate * gradient / (sqrt(square) + params.epsilon);
  state[at] = value;
  state[at_average] = params.ema * state[at_average] + (1.0 - params.ema) * value;
}

// φ'(h) for the leaky ReLU.
fn slope_at(h: Pack) -> Pack {
  return select(Pack(params.slope), Pack(1.0), h > Pack(0.0));
}

fn update_vectors(lane: u32, iteration: u32) {
  var slopes: array<Pack, PACKS>;
  var values: array<Pack, PACKS>;
  for (var b = 0u; b < params.batch; b++) {
    let h = end_of(b, lane);
    let p = previous_of(b, lane);
    for (var q = 0u; q < PACKS; q++) {
      slopes[q] += slope_at(h[q]) - slope_at(p[q]);
      values[q] += slope_at(h[q]) * h[q] - slope_at(p[q]) * p[q];
    }
  }
  var loss = Pack(0.0);
  for (var q = 0u; q < PACKS; q++) {
    let at = q * LANES + lane;
    let w = state[params.out / PACK + at];
    let value = values[q] / f32(params.batch);
    loss = fma(w, value, loss);
    state[gradients() + params.bias / PACK + at] = w * slopes[q] / f32(params.batch);
    state[gradients() + params.out / PACK + at] = value;
  }
  // The sum over a pack; a pack of one becomes a vector of four times the same.
  let sum = subgroupAdd(dot(vec4f(loss), vec4f(f32(PACK) / 4.0)));
  if (lane == 0u) {
    losses[iteration % params.window] = sum;
    counter[0] = iteration + 1u;
  }
}

fn update_columns(k0: u32, lane: u32, place: u32) {
  var gradient: array<array<Pack, PACKS>, COLUMNS>;
  // A copy of w2: the first workgroup changes w2 meanwhile.
  let w = end_of(params.batch, lane);
  for (var b0 = 0u; b0 < params.batch; b0 += LANES) {
    let mine = min(b0 + lane, params.batch - 1u);
    let sample = order[place * params.batch + mine] * params.d;
    var x: array<f32, COLUMNS>;
    var p: array<f32, COLUMNS>;
    for (var c = 0u; c < COLUMNS; c++) {
      let k = min(k0 + c, params.d - 1u);
      x[c] = fma(params.step_size, way[k * params.pitch + mine], current[sample + k]);
      p[c] = -previous[sample + k];
    }
    let count = min(params.lanes, params.batch - b0);
    for (var l = 0u; l < count; l++) {
      let row = b0 + l;
      var s = end_of(row, lane);
      var s_previous = previous_of(row, lane);
      for (var q = 0u; q < PACKS; q++) {
        s[q] = w[q] * slope_at(s[q]);
        s_previous[q] = w[q] * slope_at(s_previous[q]);
      }
      for (var c = 0u; c < COLUMNS; c++) {
        let x_l = Pack(subgroupShuffle(x[c], l));
        let p_l = Pack(subgroupShuffle(p[c], l));
        for (var q = 0u; q < PACKS; q++) {
          gradient[c][q] = fma(s_previous[q], p_l, fma(s[q], x_l, gradient[c][q]));
        }
      }
    }
  }
  // One store in a loop whose length compilers do not know, with the column selected from the registers: software
  // drivers take some 17 ms to compile each store of a vector.
  let end = min(k0 + COLUMNS, params.d);
  for (var k = k0; k < end; k++) {
    for (var q = 0u; q < PACKS; q++) {
      var value = gradient[0][q];
      for (var c = 1u; c < COLUMNS; c++) {
        value = select(value, gradient[c][q], k0 + c == k);
      }
      state[gradients() + params.weight / PACK + k * ROW + q * LANES + lane] = value / f32(params.batch);
    }
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let iteration = counter[1];
  let k0 = (group.x - 1u) * COLUMNS;
  var first: u32;
  var end: u32;
  if (group.x == 0u) {
    update_vectors(local.x, iteration);
    // w2 follows b1.
    first = params.bias / PACK;
    end = params.out / PACK + ROW;
  } else {
    update_columns(k0, local.x, iteration % params.window);
    first = params.weight / PACK + k0 * ROW;
    end = params.weight / PACK + min(k0 + COLUMNS, params.d) * ROW;
  }
  // Gradients go through memory: applying RMSprop to registers would be unrolled into a very long program. A lane reads
  // what it has written itself.
  for (var at = first + local.x; at < end; at += LANES) {
    descend(at, state[gradients() + at]);
  }
}
