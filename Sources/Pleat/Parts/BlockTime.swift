internal import Quantization
internal import TensorModel
internal import Weights

extension TensorJob {
  /// The number of bytes that a block takes in the target.
  func targetByteCount(of block: Int) -> Int {
    let units = partition.units(of: block)
    return targetLayouts.reduce(0) { sum, layout in
      // Parts that belong to the weight as a whole are written with block 0.
      layout.rowsPerStep == nil && block > 0 ? sum : sum + layout.byteCount(of: units)
    }
  }

  /// The number of weights in a block.
  func elementCount(of block: Int) -> Int {
    partition.units(of: block).count * partition.elementsPerUnit
  }

  /// The costs of all blocks, as runs of blocks that cost the same: the first block, the others, and
  /// the last one.
  var costs: [BlockCost] {
    let time = transform.picosecondsPerWeight
    let last = blockCount - 1
    let runs = [(0, 1), (1, last - 1), (last, last > 0 ? 1 : 0)].filter { $0.1 > 0 }
    guard last >= 0 else { return [] }
    return runs.map { block, count in
      let (source, target) = (sourceByteCount(of: block), targetByteCount(of: block))
      let read = reads(of: block).first.map(partition.byteCount) ?? 0
      // Bytes are read and written at 1 GB/s.
      return BlockCost(
        count: count, sourceByteCount: source, targetByteCount: target,
        bufferByteCount: read + target,
        picoseconds: (source + target) * 1000 + elementCount(of: block) * time)
    }
  }
}

/// What some adjacent blocks of a job cost, each of them the same.
struct BlockCost: Sendable, Hashable {
  /// The number of the blocks.
  var count: Int
  /// The number of bytes that each of them reads.
  var sourceByteCount: Int
  /// The number of bytes that each of them writes.
  var targetByteCount: Int
  /// The number of bytes that a worker keeps of each: what it reads at a time, and what it writes.
  var bufferByteCount: Int
  /// About how long each of them takes, in picoseconds of one thread.
  var picoseconds: Int
}

extension Transform {
  /// About how long a weight takes besides reading and writing, in picoseconds of one thread.
  fileprivate var picosecondsPerWeight: Int {
    let time =
      switch self {
      case .copy, .omit: 100
      case .encode(_, .rows(let encoder)): encoder.picosecondsPerWeight
      case .encode(_, .groups(let quantizer, _)): quantizer.picosecondsPerWeight
      case .encode(_, .scaled): 2000
      case .regroup, .rearrange, .moveMinima: 500
      }
    // A product of rank 16 takes half of this, and the statistics of the report the rest.
    return time + (adapterEdits.count + offsetMoves.count) * 1000
  }
}
