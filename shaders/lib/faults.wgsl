// Indices out of range, for Engine.checkIndices. A kernel that includes this file declares, as the last of its storages,
//   var<storage, read_write> faults: array<atomic<u32>, 5>
// which the engine binds, and has in its Params the number `fault` that the engine gave its op. Of all faults, the first
// is described: how many there were, the op, the index, the number of rows there are, and (by log_step.wgsl) the step + 1.

fn report_index(index: u32, rows: u32) {
  if (atomicAdd(&faults[0], 1u) == 0u) {
    atomicStore(&faults[1], params.fault);
    atomicStore(&faults[2], index);
    atomicStore(&faults[3], rows);
  }
}
