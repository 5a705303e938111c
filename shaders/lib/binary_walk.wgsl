// Where the operands of an elementwise function of two lie, broadcast to the shape of y by their strides.
//!include lib/divide.wgsl
//!include lib/index.wgsl
//!include lib/binary.wgsl

// Dimensions, 1 to 8; 0 where both operands are dense and of y's shape.
override RANK: u32 = 0u;

// Places of the elements of a and b that belong to element `first` of y.
fn places(first: u32) -> vec2u {
  var at = vec2u(params.offset_a, params.offset_b);
  if (RANK == 0u) {
    return at + first;
  }
  var rest = first;
  // The outermost index is what is left.
  for (var d = RANK; d > 1u; d--) {
    let n = dim(params.shape, d - 1u);
    let q = quotient(rest, n);
    at += (rest - q * n) * strides(d - 1u);
    rest = q;
  }
  return at + rest * strides(0u);
}

// Of both operands along a dimension.
fn strides(d: u32) -> vec2u {
  return vec2u(dim(params.stride_a, d), dim(params.stride_b, d));
}
