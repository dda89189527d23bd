internal import Formats
package import Kernels
package import TensorModel

extension WeightReader {
  /// How a tensor is packed for products with one vector; nil if only its decoded numbers are used.
  ///
  /// Codes and numbers of 16 bits stay as they are. Scattered groups and codebooks are not packed,
  /// since they would take more memory than in the file.
  package func packedForm(of tensor: Tensor) -> PackedMatrix.Form? {
    switch model.catalog.tensors[tensor.index].encoding {
    case .grouped(let grouping):
      guard !grouping.isScattered else { return nil }
      return PackedMatrix.Groups(grouping).map { .groups($0) }
    case .foreign(let layout):
      return BlockType(layout)?.packedGroups.map { .groups($0) }
    case .plain(let type):
      guard type.isDecodable else { return nil }
      switch type {
      case .f16: return .numbers(.float16)
      case .bf16: return .numbers(.bfloat16)
      default: return .numbers(.float32)
      }
    case .scaled: return nil
    }
  }

  /// Reads rows of a tensor and packs them.
  ///
  /// - Parameters:
  ///   - tensor: A tensor that has a packed form.
  ///   - rows: The rows to pack.
  ///   - matrix: Receives them; it has that form.
  ///   - first: The row of the matrix that the first of them becomes, a multiple of
  ///     `PackedMatrix.rowsPerBlock`.
  ///   - buffers: Memory that is reused.
  /// - Throws: What reading throws; `malformed` if scales or biases are not finite.
  package func pack(
    _ tensor: Tensor, rows: Range<Int>, into matrix: PackedMatrix, at first: Int,
    reusing buffers: inout Buffers
  ) throws(ModelError) {
    let (step, columns) = (tensor.rowStep, tensor.shape.columnCount)
    // Others that are packed together with them are read too.
    let start = rows.lowerBound / step * step
    let end = min((rows.upperBound + step - 1) / step * step, tensor.shape.rowCount)
    let wanted = rows.lowerBound - start..<rows.upperBound - start
    guard case .groups(let groups) = matrix.form else {
      try read(tensor, rows: start..<end, into: &buffers)
      matrix.setRows(
        from: first,
        numbers: buffers.values.span.extracting(
          wanted.lowerBound * columns..<wanted.upperBound * columns))
      return
    }
    try model.read(
      tensor.index, tensor.partition, units: start * tensor.unitsPerRow..<end * tensor.unitsPerRow,
      into: &buffers.parts)
    func set(_ codes: [UInt8], _ scales: [Float], _ offsets: [Float]) throws(ModelError) {
      let count = columns / groups.size
      let parameters = wanted.lowerBound * count..<wanted.upperBound * count
      let isFinite = matrix.setRows(
        from: first,
        codes: codes.span.extracting(wanted.lowerBound * columns..<wanted.upperBound * columns),
        scales: scales.span.extracting(parameters),
        offsets: offsets.isEmpty ? offsets.span : offsets.span.extracting(parameters))
      guard isFinite else {
        throw ModelError(
          .malformed, "a scale or a bias of the tensor is not finite",
          tensor: model.catalog.tensors[tensor.index].name,
          hint: "find all such numbers: pleat inspect --check")
      }
    }
    switch model.catalog.tensors[tensor.index].encoding {
    case .grouped(let grouping):
      let read = GroupedRows(grouping: grouping, columnCount: columns, rowCount: end - start)
      model.readGroups(buffers.parts, firstRow: 0, into: read)
      try set(read.codes, read.scales, grouping.offset == .bias ? read.biases : read.zeros)
    case .foreign(let layout):
      let blocks = buffers.parts[0]
      let parts = BlockType(layout)?.subBlocks(of: blocks.span)
      try set(parts?.codes ?? [], parts?.scales ?? [], parts?.offsets ?? [])
    case .plain, .scaled: preconditionFailure("has no groups")
    }
  }
}

extension PackedMatrix.Groups {
  /// The groups of a grouping whose columns are neighbours.
  fileprivate init?(_ grouping: Grouping) {
    let parameters = FloatFormat(grouping.parameters)
    switch grouping.offset {
    case .bias:
      self.init(bits: grouping.bits, size: grouping.groupSize, .bias, parameters: parameters)
    case .zeroPoint:
      // Zero points need not be values of the type of the scales.
      self.init(bits: grouping.bits, size: grouping.groupSize, .zeroPoint, parameters: .float32)
    case .none:
      self.init(
        bits: grouping.bits, size: grouping.groupSize, .centered(Float(grouping.centralCode)),
        parameters: parameters)
    }
  }
}
