internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

/// Codes that are numbers themselves, with a scale for each group.
extension BlockWorker {
  /// Encodes rows, after adapters have changed them.
  ///
  /// The first part of the target receives the codes, the second one the scales. Throws `malformed`
  /// for a number that is not finite, `unsupported` for those that are too large for the encoding,
  /// and what reading adapters throws.
  func encode(
    _ job: TensorJob, _ units: Range<Int>, _ encoder: ScaledEncoder, _ target: inout [[UInt8]]
  ) throws(ModelError) {
    let columns = job.partition.elementsPerUnit
    for tile in job.partition.tiles(units.count) {
      decodeSource(job, tile)
      let firstRow = units.lowerBound + tile.lowerBound
      let update = try updated(job, firstRow..<firstRow + tile.count)
      do throws(GroupFault) {
        try encodeTile(job, tile, encoder, &target)
      } catch {
        throw explain(error, job, .scaled(encoder.encoding), firstRow: firstRow)
      }
      guard let update else { continue }
      ScaledRows(encoder.encoding, columnCount: columns, layouts: job.targetLayouts)?
        .decode(target, rows: tile, into: &values)
      measurement?.add(values, base: update.base, delta: update.delta)
    }
  }

  private func encodeTile(
    _ job: TensorJob, _ tile: Range<Int>, _ encoder: ScaledEncoder, _ target: inout [[UInt8]]
  ) throws(GroupFault) {
    let values = values
    let ranges = job.targetLayouts.map { $0.range(of: tile) }
    // While it is out of the array, the buffer of the scales is changed in place beside the codes.
    var scales: [UInt8] = []
    swap(&scales, &target[1])
    defer { swap(&scales, &target[1]) }
    try target[0].change(ranges[0]) { (codes) throws(GroupFault) in
      try scales.change(ranges[1]) { (scales) throws(GroupFault) in
        try encoder.encode(values, codes: &codes, scales: &scales)
      }
    }
  }
}
