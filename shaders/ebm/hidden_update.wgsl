enable subgroups;
// Last of the kernels of an aligner iteration in the hidden layer (src/ebm/hidden.ts tells the whole): gradient
// of
//   L = mean f(x_sampled) - mean f(x_previous)        (f = minus the energy)
// with respect to W1 [H, d], b1 [H], w2 [H] (that of b2 is exactly 0), then RMSprop and the moving average in place.
//   ∂L/∂W1 = 1/B Σ_b ( s_b ⊗ x_b - s'_b ⊗ p_b )    (s at the chain's end, s' at p = previous)
// With the chain's end x_b = x0_b + ε W1ᵀ S_b, S_b = Σ_t s_t, the sum over x_b is  Σ_b s_b ⊗ x0_b + ε Mᵀ W1  where
// M = Σ_b S_b ⊗ s_b [H, H] is a matrix product made before: x_b itself is never needed.
// Everything about column k of W1 needs column k only, so each subgroup owns COLUMNS columns and no one else reads
// them. Hidden units lie across lanes; of LANES samples at a time each lane loads one, and shuffles hand them around.
// The last workgroup does b1, w2 and the loss.

const H: u32 = 64u;
const LANES: u32 = 8u;
const UNITS: u32 = H / LANES;
const COLUMNS: u32 = 8u;

struct Params {
  d: u32,
  batch: u32,
  weight: u32,
  bias: u32,
  out: u32,
  step_size: f32,
  learning_rate: f32,
  alpha: f32,
  epsilon: f32,
  ema: f32,
  // LANES again: a bound that is no constant keeps compilers from unrolling, which here costs minutes and gains nothing.
  lanes: u32,
}

@group(0) @binding(0) var<storage, read> current: array<f32>;
@group(0) @binding(1) var<storage, read> previous: array<f32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> counter: array<u32>;
@group(0) @binding(4) var<storage, read> ends: array<f32>;
@group(0) @binding(5) var<storage, read> moments: array<f32>;
@group(0) @binding(6) var<storage, read_write> model: array<f32>;
// Running mean of squared gradients, then the moving average of the parameters, each in the layout of `model`.
@group(0) @binding(7) var<storage, read_write> squares: array<f32>;
@group(0) @binding(8) var<storage, read_write> average: array<f32>;
@group(0) @binding(9) var<storage, read_write> losses: array<f32>;
// Scratch: [d rounded up to COLUMNS, H].
@group(0) @binding(10) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(11) var<uniform> params: Params;

// One element by RMSprop (Hinton's lecture 6e, as in PyTorch: the root is taken before epsilon is added).
fn descend(at: u32, gradient: f32) {
  let square = params.alpha * squares[at] + (1.0 - params.alpha) * gradient * gradient;
  squares[at] = square;
  let value = model[at] - params.learning_rate * gradient / (sqrt(square) + params.epsilon);
  model[at] = value;
  average[at] = params.ema * average[at] + (1.0 - params.ema) * value;
}

fn update_vectors(lane: u32, iteration: u32) {
  let rows = 2u * params.batch;
  var loss = 0.0;
  for (var u = 0u; u < UNITS; u++) {
    let unit = lane + u * LANES;
    var s = 0.0;
    var a = 0.0;
    for (var b = 0u; b < params.batch; b++) {
      s += ends[b * H + unit] - ends[(params.batch + b) * H + unit];
      a += ends[(rows + b) * H + unit] - ends[(rows + params.batch + b) * H + unit];
    }
    s /= f32(params.batch);
    a /= f32(params.batch);
    loss = fma(model[params.out + unit], a, loss);
    descend(params.bias + unit, s);
    descend(params.out + unit, a);
  }
  loss = subgroupAdd(loss);
  if (lane == 0u) {
    losses[iteration] = loss;
    counter[0] = iteration + 1u;
  }
}

fn update_columns(k0: u32, lane: u32, iteration: u32) {
  var gradient: array<array<f32, UNITS>, COLUMNS>;
  for (var b0 = 0u; b0 < params.batch; b0 += LANES) {
    let sample = order[iteration * params.batch + min(b0 + lane, params.batch - 1u)] * params.d;
    var x: array<f32, COLUMNS>;
    var p: array<f32, COLUMNS>;
    for (var c = 0u; c < COLUMNS; c++) {
      let k = min(k0 + c, params.d - 1u);
      x[c] = current[sample + k];
      p[c] = previous[sample + k];
    }
    for (var l = 0u; l < params.lanes; l++) {
      let keep = select(0.0, 1.0, b0 + l < params.batch);
      let row = min(b0 + l, params.batch - 1u);
      var s: array<f32, UNITS>;
      var s_previous: array<f32, UNITS>;
      for (var u = 0u; u < UNITS; u++) {
        s[u] = keep * ends[row * H + lane + u * LANES];
        s_previous[u] = -keep * ends[(params.batch + row) * H + lane + u * LANES];
      }
      for (var c = 0u; c < COLUMNS; c++) {
        let x_l = subgroupShuffle(x[c], l);
        let p_l = subgroupShuffle(p[c], l);
        for (var u = 0u; u < UNITS; u++) {
          gradient[c][u] = fma(s_previous[u], p_l, fma(s[u], x_l, gradient[c][u]));
        }
      }
    }
  }
  for (var v = 0u; v < UNITS; v++) {
    var w: array<f32, COLUMNS>;
    for (var c = 0u; c < COLUMNS; c++) {
      w[c] = params.step_size * model[params.weight + min(k0 + c, params.d - 1u) * H + v * LANES + lane];
    }
    for (var l = 0u; l < params.lanes; l++) {
      var m: array<f32, UNITS>;
      for (var u = 0u; u < UNITS; u++) {
        m[u] = moments[(v * LANES + l) * H + lane + u * LANES];
      }
      for (var c = 0u; c < COLUMNS; c++) {
        let w_l = subgroupShuffle(w[c], l);
        for (var u = 0u; u < UNITS; u++) {
          gradient[c][u] = fma(m[u], w_l, gradient[c][u]);
        }
      }
    }
  }
  // Out to memory first: applying RMSprop to registers would be unrolled into a very long program.
  for (var c = 0u; c < COLUMNS; c++) {
    for (var u = 0u; u < UNITS; u++) {
      gradients[(k0 + c) * H + lane + u * LANES] = gradient[c][u] / f32(params.batch);
    }
  }
  for (var i = k0 * H + lane; i < min(k0 + COLUMNS, params.d) * H; i += LANES) {
    descend(params.weight + i, gradients[i]);
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let iteration = counter[1];
  if (group.x == groups.x - 1u) {
    update_vectors(local.x, iteration);
  } else {
    update_columns(group.x * COLUMNS, local.x, iteration);
  }
}
