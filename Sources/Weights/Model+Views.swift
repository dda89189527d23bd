internal import Bytes
internal import Formats
internal import Kernels
package import TensorModel

/// A model that another one has views of.
final class ModelOrigin: Sendable {
  let model: Model
  /// The index in its catalog of the tensor that each tensor of the other one is read from.
  let sources: [Int]

  init(_ model: Model, sources: [Int]) {
    self.model = model
    self.sources = sources
  }
}

extension Model {
  /// The same model, with tensors that are read from those of this one.
  ///
  /// A view keeps the encoding of its source if that stores its rows one by one, and is a tensor of
  /// plain numbers otherwise: of the type of the source, or of the type that its codes are usually
  /// decoded to, or of F32.
  ///
  /// - Parameter views: All tensors, in order; a view of a tensor as it is needs no rows.
  /// - Returns: The model.
  /// - Throws: `unsupported` for views of tensors that Pleat does not decode.
  package func viewed(_ views: [TensorView]) throws(ModelError) -> Model {
    var weights: [GatheredTensor] = []
    for view in views {
      let source = gathered[view.source]
      var weight = source
      weight.info.name = view.name
      guard !view.rows.isEmpty else {
        weights.append(weight)
        continue
      }
      weight.view = view
      weight.info.shape = view.shape
      if let layouts = movedLayouts(of: view) {
        weight.layouts = layouts
      } else {
        let type = try viewedType(of: view)
        (weight.parts, weight.forms) = ([source.parts[0]], [])
        weight.info.encoding = .plain(type)
        weight.layouts = [view.layout(of: gathered, type)]
      }
      weights.append(weight)
    }
    return Model(weights, from: ModelOrigin(self, sources: views.map(\.source)))
  }

  /// Whether its tensors are read from those of another model.
  package var hasViews: Bool { origin != nil }

  /// Whether a tensor is arranged in another way than the one that it is read from.
  package func isView(_ tensor: Int) -> Bool {
    tensor < gathered.count && gathered[tensor].view != nil
  }

  /// Whether a tensor has numbers of another one, multiplied by factors.
  package func isMultipliedView(_ tensor: Int) -> Bool {
    tensor < gathered.count && gathered[tensor].view.map { !$0.factors.isEmpty } ?? false
  }

  /// Whether a tensor has numbers that groups or blocks of another one are decoded to.
  package func isDecodedView(_ tensor: Int) -> Bool {
    guard tensor < gathered.count, let view = gathered[tensor].view, let origin,
      case .plain = gathered[tensor].info.encoding
    else { return false }
    return view.sources.contains { source in
      if case .plain = origin.model.catalog.tensors[source].encoding { false } else { true }
    }
  }

  /// The tensor without views whose columns a tensor has as they are, and the number of the matrix if
  /// it is one of a stack; nil for tensors that are no views, and for other columns.
  package func columnSource(of tensor: Int) -> (name: String, matrix: Int?)? {
    guard tensor < gathered.count, let view = gathered[tensor].view, let origin, view.movesRows,
      view.columns == nil, !view.dividesRows
    else { return nil }
    let source = origin.model.catalog.tensors[view.source]
    guard source.shape.columnCount == view.shape.columnCount else { return nil }
    let isMatrix = view.shape.rank == 2 && source.shape.rank == 3
    let rowCount = source.shape.dimensions.dropLast().last ?? 1
    return (source.name, isMatrix ? view.rows[0].first / max(1, rowCount) : nil)
  }

  /// The index of the tensor that one is read from, in the model without views.
  package func origin(of tensor: Int) -> Int { origin?.sources[tensor] ?? tensor }

  /// The type of the numbers of a view whose sources do not store them row by row.
  ///
  /// F32 holds those of several types, and products of numbers of any type.
  private func viewedType(of view: TensorView) throws(ModelError) -> ScalarType {
    var types: Set<ScalarType> = []
    for source in view.sources {
      types.insert(
        try viewedType(of: gathered[source].info, keepsNumbers: view.keepsNumbers))
    }
    return view.productType ?? (types.count == 1 ? types.first ?? .f32 : .f32)
  }

  private func viewedType(
    of source: TensorInfo, keepsNumbers: Bool
  ) throws(ModelError) -> ScalarType {
    guard source.isDecodable else {
      throw ModelError(
        .unsupported, "the tensor is stored in another order, and Pleat does not decode it",
        file: path, tensor: source.name, expected: "numbers that Pleat decodes",
        found: source.encoding.description)
    }
    // A function of a number may need more bits than the number.
    guard keepsNumbers else { return .f32 }
    if case .plain(let type) = source.encoding, Grouping.supportedParameters.contains(type) {
      return type
    }
    return source.scaled.map { $0.decoded == .bf16 ? .bf16 : .f32 } ?? .f32
  }

  /// The parts of a view, as if they were stored.
  func viewedParts(of tensor: Int) -> [StoredTensor] {
    let weight = gathered[tensor]
    return weight.parts.indices.map { part in
      var stored = storedPart(part, of: weight)
      let rows = weight.layouts[part]
      guard rows.rowsPerStep != nil else { return stored }
      stored.name = weight.info.name
      if weight.parts.count == 1 {
        (stored.shape, stored.encoding) = (weight.info.shape, weight.info.encoding)
      }
      stored.rows = rows
      stored.byteCount = rows.byteCount
      stored.storedByteCount = rows.byteCount
      stored.blockByteCount = rows.byteCount
      return stored
    }
  }

  /// Fills `bytes` from an offset of a part of a view.
  ///
  /// Throws what reading the source throws.
  func readView(
    _ tensor: Int, _ part: Int, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    let weight = gathered[tensor]
    guard let view = weight.view, let origin = origin?.model, bytes.byteCount > 0 else { return }
    let layout = weight.layouts[part]
    guard let rowCount = layout.rowsPerStep else {
      try readStored(weight, part, at: offset, into: &bytes)
      return
    }
    // Whole rows that contain the bytes.
    let rowByteCount = layout.bytesPerStep / rowCount
    let (stripe, start) = offset.quotientAndRemainder(dividingBy: layout.stripeByteCount)
    let rows = start / rowByteCount..<(start + bytes.byteCount - 1) / rowByteCount + 1
    let first = start - rows.lowerBound * rowByteCount
    let content: [UInt8]
    if let layouts = origin.movedLayouts(of: view) {
      let base = stripe * origin.parts(of: view.source)[part].rows.stripeByteCount
      content = try origin.movedRows(view, part, from: base, rows, layouts[part].bytesPerStep)
    } else if case .plain(let type) = weight.info.encoding {
      let numbers = try ViewReader(view, origin).numbers(rows)
      content = FloatFormat(type).encoded(numbers)
    } else {
      preconditionFailure("a view that moves no rows has plain numbers")
    }
    bytes.copy(content, from: first)
  }

  /// The layouts of the parts of a view of these tensors whose rows are moved as they are.
  ///
  /// nil if they cannot be: if sources do not store them one by one, or each in another form.
  private func movedLayouts(of view: TensorView) -> [RowLayout]? {
    let encoding = catalog.tensors[view.source].encoding
    let layouts = view.rowLayouts(of: parts(of: view.source), encoding)
    guard case .rows(let views)? = view.joining else { return layouts }
    let isOneForm = views.allSatisfy { other in
      let parts = parts(of: other.source)
      return other.rows.isEmpty && catalog.tensors[other.source].encoding == encoding
        && parts.map(\.rows.bytesPerStep) == layouts?.map(\.bytesPerStep)
        && parts.allSatisfy { $0.rows.isContiguous && $0.rows.rowsPerStep == 1 }
    }
    return isOneForm ? layouts : nil
  }

  /// The bytes of some rows of a view of these tensors, which store them one by one.
  ///
  /// `base` is the offset of the first row in a part of each source.
  private func movedRows(
    _ view: TensorView, _ part: Int, from base: Int, _ rows: Range<Int>, _ rowByteCount: Int
  ) throws(ModelError) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: rows.count * rowByteCount)
    for run in RowSelection.runs(view.rows, rows) {
      let target = (run.position - rows.lowerBound) * rowByteCount
      let (source, row) = view.source(ofRow: run.row)
      let offset = base + row * rowByteCount
      guard run.distance > 1 else {
        try result.change(target..<target + run.count * rowByteCount) {
          (span) throws(ModelError) in
          try readPart(source, part, at: offset, into: &span)
        }
        continue
      }
      // The rows between are read too: one read is faster than many.
      let spanCount = ((run.count - 1) * run.distance + 1) * rowByteCount
      var span = [UInt8](repeating: 0, count: spanCount)
      try span.change(span.indices) { (bytes) throws(ModelError) in
        try readPart(source, part, at: offset, into: &bytes)
      }
      for row in 0..<run.count {
        let from = row * run.distance * rowByteCount
        let to = target + row * rowByteCount
        result.replaceSubrange(to..<to + rowByteCount, with: span[from..<from + rowByteCount])
      }
    }
    if let columns = view.columns { columns.apply(to: &result, rowLength: rowByteCount) }
    return result
  }
}

extension TensorView {
  /// The layouts of the parts of a source whose rows are moved as they are; nil if they cannot be.
  func rowLayouts(of parts: [StoredTensor], _ encoding: Encoding) -> [RowLayout]? {
    guard movesRows, columns.map({ movesColumns($0, parts, encoding) }) ?? true,
      parts.allSatisfy({ $0.rows.rowsPerStep == 1 || $0.rows.rowsPerStep == nil })
    else { return nil }
    let count = rows.reduce(0) { $0 + $1.count }
    return parts.map { part in
      guard part.rows.rowsPerStep != nil else { return part.rows }
      let length =
        dividesRows ? part.byteCount / max(1, part.shape.elementCount) : part.rows.bytesPerStep
      return RowLayout(
        stripeCount: part.rows.stripeCount, stripeByteCount: count * length, rowsPerStep: 1,
        bytesPerStep: length)
    }
  }

  /// Whether columns can be moved without decoding them.
  private func movesColumns(
    _ columns: ColumnOrder, _ parts: [StoredTensor], _ encoding: Encoding
  ) -> Bool {
    let unit: Int
    switch encoding {
    case .plain: unit = 1
    case .foreign(let layout): unit = layout.elementCount
    case .grouped(let grouping) where !grouping.isScattered: unit = grouping.groupSize
    case .scaled(let codes) where codes.tileRows == 1: unit = codes.tileColumns ?? 0
    case .grouped, .scaled: unit = 0
    }
    guard unit > 0, columns.runLength % unit == 0 else { return false }
    return parts.allSatisfy { part in
      part.rows.isContiguous
        && part.rows.bytesPerStep * columns.runLength % shape.columnCount == 0
    }
  }

  /// The layout of plain numbers that are computed from those of a source.
  ///
  /// Rows that are columns of the source are read together: with those of the same matrix, or with
  /// as many as make reading worthwhile.
  func layout(of tensors: GatheredTensors, _ type: ScalarType) -> RowLayout {
    let width = type.bitWidth / 8
    let rowByteCount = shape.columnCount * width
    var step = step(of: tensors, width)
    if case .columns(let views, _)? = joining {
      step = views.map { $0.step(of: tensors, width) }.reduce(1) {
        $0.leastCommonMultiple(with: $1)
      }
    }
    return RowLayout(
      stripeCount: 1, stripeByteCount: shape.rowCount * rowByteCount, rowsPerStep: step,
      bytesPerStep: step * rowByteCount)
  }

  /// The number of rows that are read together.
  private func step(of tensors: GatheredTensors, _ width: Int) -> Int {
    guard let transposition else { return 1 }
    let source = tensors[source].info
    let matrixCount = max(1, source.shape.rowCount / transposition.matrixRowCount)
    let step = max(1, shape.rowCount / matrixCount)
    // Every step is whole, so that a block can be decoded from its beginning.
    guard case .plain = source.encoding else { return step }
    return step.largestDivisor(upTo: Self.usualRunByteCount / width)
  }

  /// The tensor that has a row, counted from the first row of the first view that is joined, and the
  /// row there.
  fileprivate func source(ofRow row: Int) -> (source: Int, row: Int) {
    guard case .rows(let views)? = joining else { return (source, row) }
    var first = 0
    for view in views {
      let next = first + view.shape.rowCount
      if row < next { return (view.source, row - first) }
      first = next
    }
    preconditionFailure("a row of a joined view is one of the views")
  }

  /// The indices of all tensors that it is read from.
  fileprivate var sources: [Int] { joining?.views.map(\.source) ?? [source] }

  /// About the length of what is read of each row of a source that is transposed.
  private static var usualRunByteCount: Int { 1 << 11 }
}

extension Int {
  /// The largest divisor that is not above a limit of at least 1.
  fileprivate func largestDivisor(upTo limit: Int) -> Int {
    (1...Swift.max(1, Swift.min(self, limit))).last { self % $0 == 0 } ?? 1
  }
}
