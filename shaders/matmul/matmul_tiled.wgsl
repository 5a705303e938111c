// C[b, m, n] = Σ_k A[b, m, k] · B[b, k, n] (+ bias[n]), k < K; C is dense. For GPUs and large matrices.
//
// A workgroup of WX × WY invocations computes a tile of WY·TM rows × WX·TN columns. Slices of TK values of k of both
// tiles go through workgroup memory, two buffers in turn: while one is multiplied the next is on its way from memory,
// and one barrier per slice is enough. All loads are vectors of four. An invocation keeps TM × TN sums in registers, in
// blocks of four rows and four columns that lie 4·WY and 4·WX apart, so that neighbours read neighbouring vectors.
//
// A and B are read in the direction in which they are dense: A_ALONG_K = 1 for a row-major A (else its columns are
// dense: a transposed view), B_ALONG_K = 1 for a column-major B (else its rows are dense). In that direction the size
// must be a multiple of 4, and so must be offsets and the other strides. A tile keeps the direction of its matrix.
// TM, TN and TK must be multiples of 4, and WX·WY must divide the vectors of each slice.
// A, B and bias may share a buffer; C may not.

//!include lib/matmul_params.wgsl

@group(0) @binding(0) var<storage, read> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read> bias: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<Result>;

const WX: u32 = 16u;
const WY: u32 = 16u;
const TM: u32 = 4u;
const TN: u32 = 4u;
const TK: u32 = 16u;

override A_ALONG_K: u32 = 1u;
override B_ALONG_K: u32 = 0u;

const THREADS: u32 = WX * WY;
const ROWS: u32 = WY * TM;
const COLUMNS: u32 = WX * TN;
// Vectors of a slice, and those each invocation loads of it.
const VECTORS_A: u32 = ROWS * TK / 4u;
const VECTORS_B: u32 = COLUMNS * TK / 4u;
// Blocks of four rows, and of four columns, of a tile.
const BLOCKS_A: u32 = ROWS / 4u;
const BLOCKS_B: u32 = COLUMNS / 4u;
const LOADS_A: u32 = VECTORS_A / THREADS;
const LOADS_B: u32 = VECTORS_B / THREADS;
// Vectors of one row (column) of a slice along k; one more in memory, so that rows start in different banks.
const ALONG: u32 = TK / 4u;
const APART: u32 = ALONG + 1u;
const SPACE_A: u32 = ROWS * APART;
const SPACE_B: u32 = COLUMNS * APART;

var<workgroup> slice_a: array<vec4f, 2u * SPACE_A>;
var<workgroup> slice_b: array<vec4f, 2u * SPACE_B>;

// Vector i of the slice of A from k0 on: four k of one row, or four rows of one k. Zero past the end of K; rows past
// the end are the last ones.
fn load_a(base: u32, m0: u32, k0: u32, i: u32) -> vec4f {
  var row: u32;
  var k: u32;
  if (A_ALONG_K == 1u) {
    row = min(m0 + i / ALONG, params.m - 1u);
    k = k0 + (i % ALONG) * 4u;
  } else {
    row = min(m0 + (i % BLOCKS_A) * 4u, params.m - 4u);
    k = k0 + i / BLOCKS_A;
  }
  if (k >= params.k) {
    return vec4f();
  }
  return vec4f(a[(base + row * params.row_a + k * params.col_a) / 4u]);
}

fn load_b(base: u32, n0: u32, k0: u32, i: u32) -> vec4f {
  var column: u32;
  var k: u32;
  if (B_ALONG_K == 1u) {
    column = min(n0 + i / ALONG, params.n - 1u);
    k = k0 + (i % ALONG) * 4u;
  } else {
    column = min(n0 + (i % BLOCKS_B) * 4u, params.n - 4u);
    k = k0 + i / BLOCKS_B;
  }
  if (k >= params.k) {
    return vec4f();
  }
  return vec4f(b[(base + k * params.row_b + column * params.col_b) / 4u]);
}

// Where vector i of a slice goes.
fn place_a(i: u32) -> u32 {
  return select(i, (i / ALONG) * APART + i % ALONG, A_ALONG_K == 1u);
}

fn place_b(i: u32) -> u32 {
  return select(i, (i / ALONG) * APART + i % ALONG, B_ALONG_K == 1u);
}

@compute @workgroup_size(WX, WY)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let group = id + params.origin;
  let outer = group.z / params.batch_inner;
  let inner = group.z % params.batch_inner;
  let base_a = params.offset_a + outer * params.batch_a_outer + inner * params.batch_a;
  let base_b = params.offset_b + outer * params.batch_b_outer + inner * params.batch_b;
  let m0 = group.y * ROWS;
  let n0 = group.x * COLUMNS;

  var acc: array<array<f32, TN>, TM>;
  var next_a: array<vec4f, LOADS_A>;
  var next_b: array<vec4f, LOADS_B>;
  for (var l = 0u; l < LOADS_A; l++) {
    slice_a[place_a(l * THREADS + index)] = load_a(base_a, m0, 0u, l * THREADS + index);
  }
  for (var l = 0u; l < LOADS_B; l++) {
    slice_b[place_b(l * THREADS + index)] = load_b(base_b, n0, 0u, l * THREADS + index);
  }
  workgroupBarrier();

  var turn = 0u;
  for (var k0 = 0u; k0 < params.k; k0 += TK) {
    let more = k0 + TK < params.k;
    if (more) {
      for (var l = 0u; l < LOADS_A; l++) {
        next_a[l] = load_a(base_a, m0, k0 + TK, l * THREADS + index);
      }
      for (var l = 0u; l < LOADS_B; l++) {
        next_b[l] = load_b(base_b, n0, k0 + TK, l * THREADS + index);
      }
    }
    let at_a = turn * SPACE_A;
    let at_b = turn * SPACE_B;
    for (var q = 0u; q < ALONG; q++) {
      // Four k at a time. Along k a vector holds them for one row; else vector 4·block + kk holds four rows of one k.
      var from_a: array<vec4f, TM>;
      var from_b: array<vec4f, TN>;
      for (var i = 0u; i < TM; i++) {
        let quad = (i / 4u) * WY + local.y;
        let line = select(q, quad, A_ALONG_K == 1u) * 4u + (i % 4u);
        if (A_ALONG_K == 1u) {
          from_a[i] = slice_a[at_a + line * APART + q];
        } else {
          from_a[i] = slice_a[at_a + line * BLOCKS_A + quad];
        }
      }
      for (var j = 0u; j < TN; j++) {
        let quad = (j / 4u) * WX + local.x;
        let line = select(q, quad, B_ALONG_K == 1u) * 4u + (j % 4u);
        if (B_ALONG_K == 1u) {
          from_b[j] = slice_b[at_b + line * APART + q];
        } else {
          from_b[j] = slice_b[at_b + line * BLOCKS_B + quad];
        }
      }
      for (var kk = 0u; kk < 4u; kk++) {
        for (var i = 0u; i < TM; i++) {
          let x = select(from_a[(i / 4u) * 4u + kk][i % 4u], from_a[i][kk], A_ALONG_K == 1u);
          for (var j = 0u; j < TN; j++) {
            let y = select(from_b[(j / 4u) * 4u + kk][j % 4u], from_b[j][kk], B_ALONG_K == 1u);
            acc[i][j] = fma(x, y, acc[i][j]);
          }
        }
      }
    }
    if (more) {
      turn = 1u - turn;
      for (var l = 0u; l < LOADS_A; l++) {
        slice_a[turn * SPACE_A + place_a(l * THREADS + index)] = next_a[l];
      }
      for (var l = 0u; l < LOADS_B; l++) {
        slice_b[turn * SPACE_B + place_b(l * THREADS + index)] = next_b[l];
      }
      workgroupBarrier();
    }
  }

  for (var i = 0u; i < TM; i++) {
    let row = m0 + ((i / 4u) * WY + local.y) * 4u + (i % 4u);
    for (var j = 0u; j < TN; j++) {
      let column = n0 + ((j / 4u) * WX + local.x) * 4u + (j % 4u);
      if (row < params.m && column < params.n) {
        var value = acc[i][j];
        if (params.has_bias == 1u) {
          value += f32(bias[params.offset_bias + column]);
        }
        c[params.offset_c + (group.z * params.m + row) * params.n + column] = Result(value);
      }
    }
  }
}
