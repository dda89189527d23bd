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

  /// About how long a block takes, in picoseconds of one thread.
  ///
  /// Its bytes are read and written at 1 GB/s, and its weights are encoded.
  func picoseconds(of block: Int) -> Int {
    let byteCount = sourceByteCount(of: block) + targetByteCount(of: block)
    return byteCount * 1000 + elementCount(of: block) * transform.picosecondsPerWeight
  }
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
