enable subgroups;
// The analysis cannot see that all lanes of a subgroup go through the loops together.
diagnostic(off, subgroup_uniformity);
// Langevin chains without noise of energies with two or more hidden layers, in the first of them (src/ebm/deep.ts).
// A step x ← x + ε W1ᵀ δ, with δ = ∂f/∂h the gradient at the first layer's pre-activations h = W1 x + b1, is exactly
// h ← h + ε G δ with G = W1 W1ᵀ, and x_T = x_0 + ε W1ᵀ Σ_t δ_t. So a step is a walk up the layers, down again, and
// through G: products of one vector [H] with matrices [H, H], whose length does not depend on that of the latents.
//
// One subgroup of LANES invocations runs CHAINS chains side by side; lane l holds the units l · UNITS … + UNITS − 1 of
// every vector, and shares them by shuffles. Each value of a matrix is loaded once for all chains.
// Writes Σ_t δ_t per chain: total [rows, H].

const H: u32 = 64u;
const LANES: u32 = 8u;
const CHAINS: u32 = 8u;
// Neighbouring units that are loaded together.
alias Pack = vec4f;
const PACK: u32 = 4u;

const UNITS: u32 = H / LANES;
const PACKS: u32 = UNITS / PACK;
// Packs in a row of H.
const ROW: u32 = H / PACK;
// Signs of a layer's units in a lane take half a word.
const SIGNS: u32 = 16u;

struct Params {
  rows: u32,
  steps: u32,
  // Hidden layers.
  layers: u32,
  step_size: f32,
  slope: f32,
  // LANES again: a bound that is not a constant keeps compilers from unrolling.
  lanes: u32,
  // First workgroup of this dispatch: the engine splits one that has more than a device takes.
  origin: vec3u,
}

// h at the start, [rows, H].
@group(0) @binding(0) var<storage, read> start: array<Pack>;
// Matrices [H, H] in the order of a step: layers 2 … L transposed, layers L … 2, G.
@group(0) @binding(1) var<storage, read> matrices: array<Pack>;
// Biases of layers 2 … L, then the weights of the output, [L, H].
@group(0) @binding(2) var<storage, read> vectors: array<Pack>;
@group(0) @binding(3) var<storage, read_write> total: array<Pack>;
@group(0) @binding(4) var<uniform> params: Params;

alias Units = array<Pack, PACKS>;
alias Chains = array<Units, CHAINS>;

// One bit for each value above zero.
fn signs_of(x: Pack) -> u32 {
  var bits = 0u;
  for (var v = 0u; v < PACK; v++) {
    bits |= select(0u, 1u << v, x[v] > 0.0);
  }
  return bits;
}

// The derivative of leaky ReLU by sign.
fn slopes(bits: u32) -> Pack {
  var y = Pack(1.0);
  for (var v = 0u; v < PACK; v++) {
    y[v] = select(params.slope, 1.0, ((bits >> v) & 1u) == 1u);
  }
  return y;
}

// y += column of unit v of pack q in lane l times that unit of x, for every chain.
fn add_unit(s: ptr<function, State>, q: u32, v: u32, l: u32, at: u32) {
  var column: Units;
  for (var p = 0u; p < PACKS; p++) {
    column[p] = matrices[at + (q * PACK + v) * ROW + p];
  }
  for (var c = 0u; c < CHAINS; c++) {
    let x_j = Pack(subgroupShuffle((*s).x[c][q][v], l));
    for (var p = 0u; p < PACKS; p++) {
      (*s).y[c][p] = fma(x_j, column[p], (*s).y[c][p]);
    }
  }
}

// One call for each unit: software drivers do not unroll a loop of so many products, and an index that is not a constant would
// put x into memory.
fn add_pack(s: ptr<function, State>, q: u32, l: u32, at: u32) {
  add_unit(s, q, 0u, l, at);
  add_unit(s, q, 1u, l, at);
  if (PACK == 4u) {
    add_unit(s, q, 2u, l, at);
    add_unit(s, q, 3u, l, at);
  }
}

// What a lane holds of its chains: pre-activations of the first layer, Σ δ, the vectors before and after a product, and
// for each layer the signs of its units.
struct State {
  h: Chains,
  sum: Chains,
  x: Chains,
  y: Chains,
  signs: array<vec4u, CHAINS>,
}

// What is done with a product y.
struct Stage {
  // All bits set where it goes up, to the pre-activations of a layer; else down, to the gradient there.
  up: bool,
  // Whether that layer is the last one, whose gradient is the output's weights.
  top: bool,
  // Whether y leads to the gradient at the first layer.
  counts: bool,
  // Whether y is G δ.
  gains: bool,
  // Where the layer's signs are: all bits set in one of four words, and the first bit there. An index that is
  // not constant would put the indexed array into memory.
  words: vec4u,
  shift: u32,
  // Packs of its biases and of the output's weights.
  bias: u32,
  out: u32,
}

fn stage_of(number: u32, pack0: u32) -> Stage {
  let stages = 2u * params.layers - 1u;
  let up = number + 1u < params.layers;
  let last = number + 1u == stages;
  // From 0.
  let layer = select(select(stages - 2u - number, 0u, last), number + 1u, up);
  return Stage(
    up,
    number + 2u == params.layers,
    !up && !last && layer == 0u,
    last,
    select(vec4u(), vec4u(0xffffffffu), vec4u(0u, 1u, 2u, 3u) == vec4u(layer / 2u)),
    (layer % 2u) * SIGNS,
    min(number, params.layers - 1u) * ROW + pack0,
    (params.layers - 1u) * ROW + pack0,
  );
}

fn finish_pack(s: ptr<function, State>, stage: ptr<function, Stage>, c: u32, q: u32) {
  let y = (*s).y[c][q];
  let z = y + select(Pack(0.0), vectors[(*stage).bias + q], (*stage).up);
  let four = (*stage).words & (*s).signs[c];
  let known = (four.x | four.y | four.z | four.w) >> ((*stage).shift + q * PACK);
  let bits = select(known, signs_of(z), (*stage).up);
  (*s).signs[c] |= (*stage).words & vec4u(select(0u, bits << ((*stage).shift + q * PACK), (*stage).up));
  let x = slopes(bits) * select(z, vectors[(*stage).out + q], (*stage).top);
  (*s).x[c][q] = x;
  (*s).sum[c][q] = select((*s).sum[c][q], (*s).sum[c][q] + x, (*stage).counts);
  (*s).h[c][q] = select((*s).h[c][q], fma(Pack(params.step_size), y, (*s).h[c][q]), (*stage).gains);
}

fn start_pack(s: ptr<function, State>, c: u32, q: u32) {
  let bits = signs_of((*s).h[c][q]);
  (*s).signs[c].x |= bits << (q * PACK);
  (*s).x[c][q] = (*s).h[c][q] * slopes(bits);
}

fn finish_chain(s: ptr<function, State>, stage: ptr<function, Stage>, c: u32) {
  finish_pack(s, stage, c, 0u);
  if (PACKS > 1u) {
    finish_pack(s, stage, c, 1u);
  }
  if (PACKS > 2u) {
    finish_pack(s, stage, c, 2u);
  }
  if (PACKS > 3u) {
    finish_pack(s, stage, c, 3u);
  }
}

fn start_chain(s: ptr<function, State>, c: u32) {
  (*s).signs[c] = vec4u();
  start_pack(s, c, 0u);
  if (PACKS > 1u) {
    start_pack(s, c, 1u);
  }
  if (PACKS > 2u) {
    start_pack(s, c, 2u);
  }
  if (PACKS > 3u) {
    start_pack(s, c, 3u);
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = id + params.origin;
  let row0 = group.x * CHAINS;
  let pack0 = lane * PACKS;
  let stages = 2u * params.layers - 1u;
  var s: State;
  for (var c = 0u; c < CHAINS; c++) {
    for (var q = 0u; q < PACKS; q++) {
      s.h[c][q] = start[min(row0 + c, params.rows - 1u) * ROW + pack0 + q];
    }
  }

  for (var t = 0u; t < params.steps; t++) {
    start_chain(&s, 0u);
    if (CHAINS > 1u) {
      start_chain(&s, 1u);
    }
    if (CHAINS > 2u) {
      start_chain(&s, 2u);
    }
    if (CHAINS > 3u) {
      start_chain(&s, 3u);
    }
    if (CHAINS > 4u) {
      start_chain(&s, 4u);
    }
    if (CHAINS > 5u) {
      start_chain(&s, 5u);
    }
    if (CHAINS > 6u) {
      start_chain(&s, 6u);
    }
    if (CHAINS > 7u) {
      start_chain(&s, 7u);
    }
    for (var number = 0u; number < stages; number++) {
      s.y = Chains();
      for (var l = 0u; l < params.lanes; l++) {
        let at = (number * H + l * UNITS) * ROW + pack0;
        add_pack(&s, 0u, l, at);
        if (PACKS > 1u) {
          add_pack(&s, 1u, l, at);
        }
        if (PACKS > 2u) {
          add_pack(&s, 2u, l, at);
        }
        if (PACKS > 3u) {
          add_pack(&s, 3u, l, at);
        }
      }
      var stage = stage_of(number, pack0);
      finish_chain(&s, &stage, 0u);
      if (CHAINS > 1u) {
        finish_chain(&s, &stage, 1u);
      }
      if (CHAINS > 2u) {
        finish_chain(&s, &stage, 2u);
      }
      if (CHAINS > 3u) {
        finish_chain(&s, &stage, 3u);
      }
      if (CHAINS > 4u) {
        finish_chain(&s, &stage, 4u);
      }
      if (CHAINS > 5u) {
        finish_chain(&s, &stage, 5u);
      }
      if (CHAINS > 6u) {
        finish_chain(&s, &stage, 6u);
      }
      if (CHAINS > 7u) {
        finish_chain(&s, &stage, 7u);
      }
    }
  }

  // One chain's stores in a loop whose length compilers do not know, with the chain selected from the registers:
  // software drivers take some 17 ms to compile each store of a vector.
  let end = min(row0 + CHAINS, params.rows);
  for (var row = row0; row < end; row++) {
    for (var q = 0u; q < PACKS; q++) {
      var value = s.sum[0][q];
      for (var c = 1u; c < CHAINS; c++) {
        value = select(value, s.sum[c][q], row0 + c == row);
      }
      total[row * ROW + pack0 + q] = value;
    }
  }
}
