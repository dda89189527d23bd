internal import Formats
internal import Kernels
package import TensorModel

/// Reads the weights of a model as floats, in runs that fit into memory regardless of tensor size.
package struct WeightReader: Sendable {
  let model: Model
  private static let runElementCount = 1 << 18

  /// Creates a reader of a model's weights.
  package init(model: Model) { self.model = model }

  /// A tensor that Pleat can decode.
  package struct Tensor: Sendable {
    /// The index in the catalog.
    package let index: Int
    let partition: BlockPartition
    /// The shape.
    package let shape: Shape
    let unitsPerRow: Int
    /// The number of rows that can only be read together.
    package var rowStep: Int { unitsPerRow == 1 ? partition.unitsPerStep : 1 }
    /// The number of runs; a run is a block of the partition.
    package var runCount: Int { partition.blockCount }
  }

  /// The tensor at an index of the catalog; nil if Pleat cannot decode its encoding.
  package func tensor(_ index: Int) -> Tensor? {
    let info = model.catalog.tensors[index]
    guard info.isDecodable else { return nil }
    let parts = model.parts(of: index)
    let isByRows = info.hasParts || parts[0].rows.rowsPerStep != 1
    let partition = BlockPartition(
      info, parts, unit: isByRows ? .row : .element, runElementCount: Self.runElementCount)
    let unit = partition.elementsPerUnit
    return Tensor(
      index: index, partition: partition, shape: info.shape,
      unitsPerRow: unit == 0 ? 0 : max(1, info.shape.columnCount / unit))
  }

  /// The index of the tensor that a tensor is read from, in the model without views.
  package func origin(of tensor: Int) -> Int { model.origin(of: tensor) }

  /// How a tensor is read from another one; nil for one that is stored as it is.
  package func view(_ tensor: Int) -> TensorView? { model.gathered[tensor].view }

  /// Runs of whole rows that fit into memory, and that can be read from all of the tensors.
  ///
  /// - Parameters:
  ///   - tensors: Tensors with rows that correspond, perhaps of several models.
  ///   - rows: The rows of the first tensor to divide; nil for all.
  ///   - multiple: The number of rows that must be in the same run for another reason.
  /// - Returns: The runs of rows of the first tensor, in order; none for one without elements.
  package static func runs(
    of tensors: [Tensor], in rows: Range<Int>? = nil, multiple: Int = 1
  ) -> [Range<Int>] {
    guard let shape = tensors.first?.shape, shape.elementCount > 0 else { return [] }
    let rows = rows ?? 0..<shape.rowCount
    let step = tensors.map(\.rowStep).reduce(multiple) { $0.leastCommonMultiple(with: $1) }
    let count = max(1, runElementCount / shape.columnCount / step) * step
    return stride(from: rows.lowerBound, to: rows.upperBound, by: count).map {
      $0..<min($0 + count, rows.upperBound)
    }
  }

  /// The numbers of some rows.
  ///
  /// Throws what reading throws.
  package func values(of tensor: Tensor, rows: Range<Int>) throws(ModelError) -> [Float] {
    try decoded(
      tensor, rows.lowerBound * tensor.unitsPerRow..<rows.upperBound * tensor.unitsPerRow
    ).values
  }

  /// Memory that reading rows reuses.
  package struct Buffers {
    /// The numbers that were read last.
    package fileprivate(set) var values: [Float] = []
    var parts: [[UInt8]] = []

    package init() {}

    /// Replaces the numbers by changed ones.
    package mutating func replace(by values: [Float]) { self.values = values }
  }

  /// Reads the numbers of some rows into `buffers`.
  ///
  /// Throws what reading throws.
  package func read(
    _ tensor: Tensor, rows: Range<Int>, into buffers: inout Buffers
  ) throws(ModelError) {
    let units = rows.lowerBound * tensor.unitsPerRow..<rows.upperBound * tensor.unitsPerRow
    try model.read(tensor.index, tensor.partition, units: units, into: &buffers.parts)
    model.decode(
      tensor.index, tensor.partition, buffers.parts, units: 0..<units.count,
      into: &buffers.values)
  }

  /// The numbers of some rows, and the groups that they were decoded from; nil for other encodings.
  ///
  /// Throws what reading throws.
  package func grouped(
    _ tensor: Tensor, rows: Range<Int>
  ) throws(ModelError) -> (GroupedRows?, [Float]) {
    guard case .grouped(let grouping) = model.catalog.tensors[tensor.index].encoding else {
      return (nil, try values(of: tensor, rows: rows))
    }
    let parts = try model.read(tensor.index, tensor.partition, units: rows)
    let groups = GroupedRows(
      grouping: grouping, columnCount: tensor.partition.elementsPerUnit, rowCount: rows.count)
    model.readGroups(parts, firstRow: 0, into: groups)
    var values: [Float] = []
    groups.decodeAll(into: &values)
    return (groups, values)
  }

  /// The numbers of a run.
  ///
  /// Throws what reading throws.
  package func values(of tensor: Tensor, run: Int) throws(ModelError) -> [Float] {
    try decoded(tensor, tensor.partition.units(of: run)).values
  }

  /// The numbers of a run that are not finite.
  ///
  /// Doubles that are too large for a float count as finite. Throws what reading throws.
  package func nonFinite(of tensor: Tensor, run: Int) throws(ModelError) -> NonFiniteNumbers {
    let units = tensor.partition.units(of: run)
    let (parts, values) = try decoded(tensor, units)
    return NonFiniteNumbers(
      in: values, decodedFrom: parts[0][...], model.catalog.tensors[tensor.index].encoding,
      firstIndex: units.lowerBound * tensor.partition.elementsPerUnit)
  }

  /// The stored bytes of some units, and the numbers that they encode.
  private func decoded(
    _ tensor: Tensor, _ units: Range<Int>
  ) throws(ModelError) -> (parts: [[UInt8]], values: [Float]) {
    let parts = try model.read(tensor.index, tensor.partition, units: units)
    var values: [Float] = []
    model.decode(tensor.index, tensor.partition, parts, units: 0..<units.count, into: &values)
    return (parts, values)
  }
}

extension TensorInfo {
  /// Whether Pleat can decode the tensor.
  package var isDecodable: Bool { hasParts || RowDecoder(encoding) != nil }
}

/// Numbers of a tensor that are not finite.
package struct NonFiniteNumbers: Sendable, Hashable {
  /// How many numbers are NaN.
  package var nanCount = 0
  /// How many are infinite.
  package var infinityCount = 0
  /// The index of the first of them in the tensor; nil without any.
  package var firstIndex: Int?

  package init() {}

  /// The numbers of a run that are not finite.
  ///
  /// - Parameters:
  ///   - values: The decoded numbers.
  ///   - bytes: The bytes that they were decoded from, which say whether a double is finite that
  ///     does not fit a float.
  ///   - encoding: The encoding of the bytes.
  ///   - first: The index of the first number in the tensor.
  package init(
    in values: [Float], decodedFrom bytes: ArraySlice<UInt8>, _ encoding: Encoding,
    firstIndex first: Int = 0
  ) {
    guard !largestMagnitude(values.span).isFinite else { return }
    for (index, value) in values.enumerated() where !value.isFinite {
      if encoding == .plain(.f64), Double(littleEndian: bytes, at: index).isFinite { continue }
      if value.isNaN { nanCount += 1 } else { infinityCount += 1 }
      firstIndex = firstIndex ?? first + index
    }
  }

  /// Adds those of the next run.
  package mutating func merge(_ next: NonFiniteNumbers) {
    nanCount += next.nanCount
    infinityCount += next.infinityCount
    firstIndex = firstIndex ?? next.firstIndex
  }
}

extension Double {
  /// A double of a buffer, by its index in it.
  fileprivate init(littleEndian bytes: ArraySlice<UInt8>, at index: Int) {
    let number = bytes.dropFirst(8 * index).prefix(8)
    self.init(bitPattern: number.reversed().reduce(0) { $0 << 8 | UInt64($1) })
  }
}
