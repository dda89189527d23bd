internal import Bytes
internal import Formats
internal import Kernels
internal import TensorModel

/// Reads the numbers of a view that its source does not store row by row.
struct ViewReader {
  private let view: TensorView
  private let model: Model
  private let reader: WeightReader
  private let tensor: WeightReader.Tensor?
  private let columnCount: Int  // of the source

  init(_ view: TensorView, _ model: Model) {
    self.view = view
    self.model = model
    reader = WeightReader(model: model)
    tensor = reader.tensor(view.source)
    columnCount = model.catalog.tensors[view.source].shape.columnCount
  }

  /// The numbers of some rows of the view.
  func numbers(_ rows: Range<Int>) throws(ModelError) -> [Float] {
    let width = view.shape.columnCount
    if let joining = view.joining { return try joinedNumbers(joining, rows, width) }
    guard !view.rows.isEmpty else { return try sourceNumbers(rows) }
    if view.dividesRows {
      return try dividedNumbers(rows.lowerBound * width..<rows.upperBound * width)
    }
    var result = [Float](repeating: 0, count: rows.count * width)
    for run in RowSelection.runs(view.rows, rows) {
      let target = (run.position - rows.lowerBound) * width
      if let transposition = view.transposition {
        try transpose(run, transposition, into: &result, at: target)
      } else {
        let last = run.row + (run.count - 1) * run.distance
        let numbers = try sourceNumbers(run.row..<last + 1)
        for row in 0..<run.count {
          let start = row * run.distance * width
          result.replaceSubrange(
            target + row * width..<target + (row + 1) * width, with: numbers[start..<start + width])
        }
      }
    }
    view.columns?.apply(to: &result, rowLength: width)
    multiply(&result, rows, width)
    return result.map(view.function.callAsFunction)
  }

  /// The numbers of some rows of a view that is made of others.
  private func joinedNumbers(
    _ joining: TensorView.Joining, _ rows: Range<Int>, _ width: Int
  ) throws(ModelError) -> [Float] {
    var result = [Float](repeating: 0, count: rows.count * width)
    switch joining {
    case .columns(let views, let length):
      for (index, view) in views.enumerated() {
        let numbers = try ViewReader(view, model).numbers(rows)
        for run in 0..<numbers.count / length {
          let target = (run * views.count + index) * length
          for column in 0..<length { result[target + column] = numbers[run * length + column] }
        }
      }
    case .rows(let views):
      for run in RowSelection.runs(view.rows, rows) {
        let target = (run.position - rows.lowerBound) * width
        // The view that has them all; a run of rows does not go beyond it.
        var first = 0
        guard
          let view = views.first(where: { view in
            defer { first += view.shape.rowCount }
            return run.row < first + view.shape.rowCount
          })
        else { continue }
        first -= view.shape.rowCount
        let last = run.row + (run.count - 1) * run.distance
        let numbers = try ViewReader(view, model).numbers(run.row - first..<last + 1 - first)
        for row in 0..<run.count {
          let start = row * run.distance * width
          result.replaceSubrange(
            target + row * width..<target + (row + 1) * width, with: numbers[start..<start + width])
        }
      }
    }
    return result
  }

  /// Multiplies the numbers of some rows of the view by their factors.
  private func multiply(_ numbers: inout [Float], _ rows: Range<Int>, _ width: Int) {
    var first = 0
    for part in view.factors {
      let own = rows.clamped(to: first..<first + part.rowCount)
      first += part.rowCount
      let start = (own.lowerBound - rows.lowerBound) * width
      let factors = factors(part)
      for index in start..<start + own.count * width {
        for factor in factors { numbers[index] *= factor }
      }
    }
  }

  /// Factors that numbers are multiplied by one after the other, for those of some rows.
  private func factors(_ part: TensorView.RowFactors) -> [Float] {
    guard let type = view.productType else { return part.factors }
    return [part.factors.map(type.rounded).reduce(1) { type.rounded($0 * $1) }]
  }

  /// Some numbers of a view for which every number counts as a row.
  private func dividedNumbers(_ range: Range<Int>) throws(ModelError) -> [Float] {
    let shape = model.catalog.tensors[view.source].shape
    let numbers = try sourceNumbers(0..<shape.rowCount)
    return RowSelection.runs(view.rows, range).flatMap { run in
      (0..<run.count).map { view.function(numbers[run.row + $0 * run.distance]) }
    }
  }

  /// Writes columns of the source as rows, from an index of `result` on.
  private func transpose(
    _ run: RowSelection.Run, _ transposition: TensorView.Transposition,
    into result: inout [Float], at target: Int
  ) throws(ModelError) {
    let used = transposition.usedRows
    var done = 0
    while done < run.count {
      // The columns of one matrix.
      let first = run.row + done * run.distance
      let (matrix, column) = first.quotientAndRemainder(dividingBy: columnCount)
      let count = min(run.count - done, (columnCount - 1 - column) / run.distance + 1)
      let columns = column..<column + (count - 1) * run.distance + 1
      let start = matrix * transposition.matrixRowCount
      let numbers = try strip(start + used.lowerBound..<start + used.upperBound, columns)
      for row in 0..<count {
        let place = target + (done + row) * used.count
        for index in 0..<used.count {
          result[place + index] = numbers[index * columns.count + row * run.distance]
        }
      }
      done += count
    }
  }

  /// The numbers in some rows and columns of the source, row by row.
  private func strip(_ rows: Range<Int>, _ columns: Range<Int>) throws(ModelError) -> [Float] {
    let info = model.catalog.tensors[view.source]
    guard case .plain(let type) = info.encoding, columns.count < columnCount else {
      let numbers = try sourceNumbers(rows)
      guard columns.count < columnCount else { return numbers }
      var result: [Float] = []
      result.reserveCapacity(rows.count * columns.count)
      for row in 0..<rows.count {
        let start = row * columnCount
        result += numbers[start + columns.lowerBound..<start + columns.upperBound]
      }
      return result
    }
    let width = type.bitWidth / 8
    let length = columns.count * width
    var bytes = [UInt8](repeating: 0, count: rows.count * length)
    for row in 0..<rows.count {
      let offset = ((rows.lowerBound + row) * columnCount + columns.lowerBound) * width
      try bytes.change(row * length..<(row + 1) * length) { (span) throws(ModelError) in
        try model.readPart(view.source, 0, at: offset, into: &span)
      }
    }
    var numbers = [Float](repeating: 0, count: rows.count * columns.count)
    RowDecoder(.plain(type))?.decode(bytes[...], into: &numbers)
    return numbers
  }

  /// The numbers of some rows of the source.
  private func sourceNumbers(_ rows: Range<Int>) throws(ModelError) -> [Float] {
    guard let tensor else { return [] }
    let step = tensor.rowStep
    let first = rows.lowerBound / step * step
    let numbers = try reader.values(of: tensor, rows: first..<rows.upperBound)
    return first == rows.lowerBound
      ? numbers : Array(numbers[(rows.lowerBound - first) * columnCount..<numbers.count])
  }
}

extension TensorView.ColumnOrder {
  /// Puts the columns of rows in this order.
  func apply<Element>(to rows: inout [Element], rowLength: Int) {
    for start in stride(from: 0, to: rows.count, by: rowLength) {
      rows.replaceSubrange(
        start..<start + rowLength, with: applied(to: rows[start..<start + rowLength]))
    }
  }
}

extension TensorView.Function {
  fileprivate func callAsFunction(_ number: Float) -> Float {
    switch self {
    case .identity: number
    case .negatedExponential: -Platform.exponential(number)
    case .logarithmOfNegative: Self.logarithm(ofNegative: number)
    }
  }

  /// The number with the fewest bits whose negated exponential is `number`; the nearest one if no
  /// float has that exponential.
  ///
  /// Models are published in BF16 or F16, so that such a number is the one that was published.
  private static func logarithm(ofNegative number: Float) -> Float {
    let exact = Float(Platform.logarithm(-Double(number)))
    for type in [ScalarType.bf16, .f16] {
      let rounded = type.rounded(exact)
      if -Platform.exponential(rounded) == number { return rounded }
    }
    let candidates = [exact, exact.nextDown, exact.nextUp]
    return candidates.first { -Platform.exponential($0) == number } ?? exact
  }
}

extension ScalarType {
  /// A number rounded to the type.
  fileprivate func rounded(_ number: Float) -> Float {
    var result: [Float] = [0]
    RowDecoder(.plain(self))?.decode(FloatFormat(self).encoded([number])[...], into: &result)
    return result[0]
  }
}
