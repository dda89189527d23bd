internal import CKernels

/// A matrix of weights that is packed for products with one vector.
///
/// Groups keep their codes, in 2, 4 or 8 bits. A product is bit for bit that of `PackedRows` with the
/// decoded weights. Several threads may fill different rows at once, before any product.
@safe package final class PackedMatrix: @unchecked Sendable {
  /// How weights are packed.
  package enum Form: Sendable, Hashable {
    /// Numbers, all of which are values of a format of at most 32 bits.
    case numbers(FloatFormat)
    case groups(Groups)
  }

  /// How groups of codes are packed.
  package struct Groups: Sendable, Hashable {
    /// What is done with a code to get a weight.
    package enum Offset: Sendable, Hashable {
      /// scale · code + bias.
      case bias
      /// scale · (code − zero point).
      case zeroPoint
      /// scale · (code − a number).
      case centered(Float)
    }

    package let offset: Offset
    /// The format of scales and offsets, of at most 32 bits.
    package let parameters: FloatFormat
    /// The number of columns of a group.
    package let size: Int
    /// The number of bits that a code is packed in.
    package let packedBits: Int

    /// Groups of codes of some bits; nil if their columns do not fill words of 32 bits.
    package init?(bits: Int, size: Int, _ offset: Offset, parameters: FloatFormat) {
      guard
        let fitting = [2, 4, 8].first(where: { bits <= $0 && size.isMultiple(of: 32 / $0) }),
        size > 0, parameters != .float64
      else { return nil }
      self.offset = offset
      self.parameters = parameters
      self.size = size
      packedBits = fitting
    }
  }

  /// The number of rows that are packed together; those of a part begin at a multiple of it.
  package static let rowsPerBlock = 32
  /// The number of rows that go forward together with the longest vectors.
  ///
  /// Parts of a product that are a multiple of it take the least time.
  package static let rowsInStep = 64

  package let form: Form
  package let rowCount: Int
  package let columnCount: Int
  /// The number of bytes that it takes.
  package let byteCount: Int
  private let bytes: UnsafeMutableRawPointer

  /// Creates a matrix of zeros; the columns must be whole groups.
  package init(_ form: Form, rowCount: Int, columnCount: Int) {
    precondition(rowCount >= 0 && columnCount >= 0, "expected sizes of 0 or more")
    self.form = form
    self.rowCount = rowCount
    self.columnCount = columnCount
    byteCount = Self.byteCount(form, rowCount: rowCount, columnCount: columnCount)
    let capacity = byteCount + Int(PLEAT_BYTES_BEHIND)
    unsafe bytes = .allocate(byteCount: capacity, alignment: 64)
    unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0, count: capacity)
  }

  deinit { unsafe bytes.deallocate() }

  /// The number of bytes that a matrix takes.
  package static func byteCount(_ form: Form, rowCount: Int, columnCount: Int) -> Int {
    switch form {
    case .numbers(let format):
      return pleat_packed_number_size(format.identifier, columnCount, rowCount)
    case .groups(let groups):
      precondition(columnCount.isMultiple(of: groups.size), "expected whole groups")
      var layout = groups.layout(columnCount: columnCount)
      return unsafe pleat_packed_size(&layout, rowCount)
    }
  }

  /// Packs rows of numbers, from row `first` on.
  ///
  /// - Parameters:
  ///   - first: A multiple of `rowsPerBlock`.
  ///   - values: rows × columns values of the format of the matrix. Only the last rows of the matrix
  ///     may be no multiple of `rowsPerBlock`.
  package func setRows(from first: Int, numbers values: Span<Float>) {
    guard case .numbers(let format) = form, columnCount > 0 else {
      preconditionFailure("expected a matrix of numbers")
    }
    let count = values.count / columnCount
    precondition(values.count == count * columnCount, "expected whole rows")
    let target = unsafe address(rows: first..<first + count)
    // In bounds by the checks above.
    unsafe values.withUnsafeBufferPointer { values in
      unsafe pleat_pack_numbers(format.identifier, values.baseAddress, columnCount, count, target)
    }
  }

  /// Packs rows of groups, from row `first` on.
  ///
  /// - Parameters:
  ///   - first: A multiple of `rowsPerBlock`.
  ///   - codes: rows × columns codes, one per byte. Only the last rows of the matrix may be no
  ///     multiple of `rowsPerBlock`.
  ///   - scales: rows × groups values of the format of the parameters.
  ///   - offsets: As many biases or zero points; not read if the groups are centered.
  /// - Returns: Whether scales and offsets are finite. If not, the rows cannot be multiplied.
  package func setRows(
    from first: Int, codes: Span<UInt8>, scales: Span<Float>, offsets: Span<Float>
  ) -> Bool {
    guard case .groups(let groups) = form, columnCount > 0 else {
      preconditionFailure("expected a matrix of groups")
    }
    let count = codes.count / columnCount
    precondition(codes.count == count * columnCount, "expected whole rows")
    precondition(scales.count == codes.count / groups.size, "expected a scale for each group")
    precondition(
      groups.isCentered || offsets.count == scales.count, "expected an offset for each group")
    let target = unsafe address(rows: first..<first + count)
    var layout = groups.layout(columnCount: columnCount)
    // In bounds by the checks above.
    return unsafe codes.withUnsafeBufferPointer { codes in
      unsafe scales.withUnsafeBufferPointer { scales in
        unsafe offsets.withUnsafeBufferPointer { offsets in
          unsafe pleat_pack_groups(
            &layout, codes.baseAddress, scales.baseAddress, offsets.baseAddress, count, target)
        }
      }
    }
  }

  /// The products of a row of a matrix with rows of this one: out[outRow, column + j] = Σ x[row, k] ·
  /// self[rows[j], k].
  ///
  /// - Parameters:
  ///   - x: Its columns are those of this matrix.
  ///   - row: The row of `x`.
  ///   - rows: The first is a multiple of `rowsPerBlock`, and the end too unless it is the last.
  ///   - out: Receives the products.
  ///   - outRow: The row of `out`.
  ///   - column: The first column of `out`.
  ///   - instructions: The instruction set to use.
  package func multiply(
    _ x: FloatMatrix, row: Int, rows: Range<Int>, into out: FloatMatrix, row outRow: Int,
    column: Int, on instructions: InstructionSet = .best
  ) {
    precondition(x.columnCount == columnCount, "expected as many columns")
    guard !rows.isEmpty else { return }
    let vector = unsafe x.address(row: row, lastRow: row, lastColumn: columnCount - 1)
    let target = unsafe out.address(
      row: outRow, column: column, lastRow: outRow, lastColumn: column + rows.count - 1)
    let weights = unsafe address(rows: rows)
    // In bounds by the checks above.
    switch form {
    case .numbers(let format):
      unsafe pleat_multiply_numbers(
        instructions.identifier, format.identifier, vector, columnCount, weights, rows.count,
        target)
    case .groups(let groups):
      var layout = groups.layout(columnCount: columnCount)
      unsafe pleat_multiply_groups(
        instructions.identifier, vector, &layout, weights, rows.count, target)
    }
  }

  /// The address of the first of some rows, which are whole blocks, or the last ones.
  private func address(rows: Range<Int>) -> UnsafeMutableRawPointer {
    precondition(
      rows.lowerBound >= 0 && rows.upperBound <= rowCount
        && rows.lowerBound.isMultiple(of: Self.rowsPerBlock)
        && (rows.upperBound.isMultiple(of: Self.rowsPerBlock) || rows.upperBound == rowCount),
      "expected whole blocks of rows")
    return unsafe bytes
      + Self.byteCount(form, rowCount: rows.lowerBound, columnCount: columnCount)
  }
}

extension PackedMatrix.Groups {
  fileprivate var isCentered: Bool {
    if case .centered = offset { true } else { false }
  }

  fileprivate func layout(columnCount: Int) -> pleat_packed_groups {
    var zero: Float = 0
    let form: pleat_group_form
    switch offset {
    case .bias: form = PLEAT_BIASED
    case .zeroPoint: form = PLEAT_ZERO_POINTS
    case .centered(let number):
      form = PLEAT_CENTERED
      zero = number
    }
    return pleat_packed_groups(
      form: form, format: parameters.identifier, bits: Int32(packedBits), zero: zero, size: size,
      count: columnCount / size)
  }
}
