// C[b, m, n] = Σ_k A[b, m, k] · B[b, k, n] (+ bias[n]) on subgroup matrices (tensor cores), with sums in f32.
//
// A workgroup is one subgroup and covers TM × TN matrices of M × N elements of C. Each operand has a dense direction,
// rows or columns, and k is a multiple of K. The last matrix of a row or column of C starts early enough to end with C:
// it recomputes some elements of its neighbour, to the same bits. C goes through workgroup memory, where the bias is
// added and elements are converted to their type.
enable chromium_experimental_subgroup_matrix;

//!include lib/matmul.wgsl

// Sizes of the subgroup matrices: M × K by K × N.
const M: u32 = 16u;
const N: u32 = 16u;
const K: u32 = 16u;

const TM: u32 = 2u;
const TN: u32 = 2u;

const LANES: u32 = 32u;

// Whether A has dense rows (along k), and B dense columns (along k).
override A_ALONG_K: u32 = 1u;
override B_ALONG_K: u32 = 0u;

var<workgroup> finished: array<f32, M * N>;

//!unreflected: types that the reflection library does not know
alias Left = subgroup_matrix_left<Real, K, M>;
alias Right = subgroup_matrix_right<Real, N, K>;
alias Sums = subgroup_matrix_result<f32, N, M>;

fn load_a(start: u32) -> Left {
  if (A_ALONG_K == 1u) {
    return subgroupMatrixLoad<Left, row_major>(&a, start, params.row_a);
  }
  return subgroupMatrixLoad<Left, col_major>(&a, start, params.col_a);
}

fn load_b(start: u32) -> Right {
  if (B_ALONG_K == 1u) {
    return subgroupMatrixLoad<Right, col_major>(&b, start, params.col_b);
  }
  return subgroupMatrixLoad<Right, row_major>(&b, start, params.row_b);
}

fn multiply(group: vec3u, lane: u32) {
  let outer = group.z / params.batch_inner;
  let inner = group.z % params.batch_inner;
  let base_a = params.offset_a + outer * params.batch_a_outer + inner * params.batch_a;
  let base_b = params.offset_b + outer * params.batch_b_outer + inner * params.batch_b;

  var row: array<u32, TM>;
  var column: array<u32, TN>;
  for (var i = 0u; i < TM; i++) {
    row[i] = min((group.y * TM + i) * M, params.m - M);
  }
  for (var j = 0u; j < TN; j++) {
    column[j] = min((group.x * TN + j) * N, params.n - N);
  }

  var sums: array<array<Sums, TN>, TM>;
  for (var k = 0u; k < params.k; k += K) {
    var left: array<Left, TM>;
    for (var i = 0u; i < TM; i++) {
      left[i] = load_a(base_a + row[i] * params.row_a + k * params.col_a);
    }
    for (var j = 0u; j < TN; j++) {
      let right = load_b(base_b + k * params.row_b + column[j] * params.col_b);
      for (var i = 0u; i < TM; i++) {
        sums[i][j] = subgroupMatrixMultiplyAccumulate(left[i], right, sums[i][j]);
      }
    }
  }

  for (var i = 0u; i < TM; i++) {
    for (var j = 0u; j < TN; j++) {
      subgroupMatrixStore<row_major>(&finished, 0u, sums[i][j], N);
      workgroupBarrier();
      for (var e = lane; e < M * N; e += LANES) {
        let to = column[j] + e % N;
        store_c(group.z, row[i] + e / N, to, finished[e] + load_bias(to));
      }
      workgroupBarrier();
    }
  }
}
//!reflected

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = id + params.origin;
  multiply(group, lane);
}
