internal import CKernels
internal import Synchronization

/// A matrix of floats, row by row, that several threads may fill at once.
///
/// A thread changes only numbers that no other thread reads or changes at the same time. Rows and
/// columns are checked wherever they are passed.
@safe package final class FloatMatrix: @unchecked Sendable {
  package let rowCount: Int
  package let columnCount: Int
  /// How many numbers lie between the first ones of two rows.
  let rowStride: Int
  let numbers: UnsafeMutablePointer<Float>
  private let memory: MatrixMemory

  /// Creates a matrix.
  ///
  /// - Parameters:
  ///   - rowCount: The number of rows.
  ///   - columnCount: The number of columns.
  ///   - isZero: Whether its numbers are 0. Otherwise all of them must be set before they are read.
  package init(rowCount: Int, columnCount: Int, isZero: Bool = true) {
    precondition(rowCount >= 0 && columnCount >= 0, "expected sizes of 0 or more")
    self.rowCount = rowCount
    self.columnCount = columnCount
    // Rows a multiple of 1 KiB apart would compete for a few lines of each cache.
    rowStride = rowCount > 1 && columnCount.isMultiple(of: 256) ? columnCount + 16 : columnCount
    let count = max(1, rowCount * rowStride)
    memory = MatrixMemory.some(count)
    unsafe numbers = memory.numbers
    if isZero { unsafe numbers.update(repeating: 0, count: count) }
  }

  deinit { memory.reuse() }

  /// The address of a number; all numbers up to that of `lastRow` and `lastColumn` must exist.
  func address(
    row: Int, column: Int = 0, lastRow: Int, lastColumn: Int
  ) -> UnsafeMutablePointer<Float> {
    precondition(
      row >= 0 && column >= 0 && row <= lastRow + 1 && column <= lastColumn + 1
        && lastRow < rowCount && lastColumn < columnCount, "expected rows and columns that exist")
    return unsafe numbers + row * rowStride + column
  }

  /// The numbers of some columns of a row, to read or to change.
  package func withRow<Result>(
    _ row: Int, columns: Range<Int>? = nil, _ body: (inout MutableSpan<Float>) -> Result
  ) -> Result {
    let columns = columns ?? 0..<columnCount
    let start = unsafe address(
      row: row, column: columns.lowerBound, lastRow: row, lastColumn: columns.upperBound - 1)
    // In bounds by the check above.
    var span = unsafe UnsafeMutableBufferPointer(start: start, count: columns.count).mutableSpan
    return body(&span)
  }

  /// A number.
  package subscript(row: Int, column: Int) -> Float {
    unsafe address(row: row, column: column, lastRow: row, lastColumn: column).pointee
  }

  /// A copy of the numbers of a row.
  package func row(_ row: Int) -> [Float] {
    withRow(row) { span in (0..<span.count).map { span[$0] } }
  }

  /// A matrix of its own with the same numbers.
  package func copy() -> FloatMatrix {
    let result = FloatMatrix(rowCount: rowCount, columnCount: columnCount, isZero: columnCount == 0)
    for row in 0..<rowCount { result.setRow(row, to: self, row: row) }
    return result
  }

  /// Replaces the first numbers of a row.
  package func setRow(_ row: Int, to values: ArraySlice<Float>) {
    withRow(row, columns: 0..<values.count) { span in
      for (index, value) in values.enumerated() { span[index] = value }
    }
  }

  /// Copies some columns of a row of another matrix to a row of this one.
  package func setRow(
    _ row: Int, column: Int = 0, to other: FloatMatrix, row source: Int,
    columns: Range<Int>? = nil
  ) {
    let columns = columns ?? 0..<other.columnCount
    let from = unsafe other.address(
      row: source, column: columns.lowerBound, lastRow: source, lastColumn: columns.upperBound - 1)
    let to = unsafe address(
      row: row, column: column, lastRow: row, lastColumn: column + columns.count - 1)
    unsafe to.update(from: from, count: columns.count)
  }
}

/// Memory of a matrix, which the next ones use again.
///
/// Large blocks that come from the system and go back to it cost a page fault for every 4 KiB, which
/// takes longer than writing zeros.
@safe private struct MatrixMemory: @unchecked Sendable {
  let numbers: UnsafeMutablePointer<Float>
  let capacity: Int

  /// Blocks that no matrix uses, the oldest first.
  private static let unused = Mutex<[MatrixMemory]>([])
  /// Smaller blocks are left to the allocator, which keeps them itself.
  private static let smallestCapacity = 1 << 14
  /// How many numbers unused blocks have together: 64 MiB.
  private static let unusedCapacity = 1 << 24

  /// Memory for so many numbers or more, which have any values.
  static func some(_ count: Int) -> MatrixMemory {
    // Small blocks, of which one token needs hundreds, are never kept.
    if count >= smallestCapacity, let found = kept(count) { return found }
    return unsafe MatrixMemory(numbers: .allocate(capacity: count), capacity: count)
  }

  /// The smallest unused block for so many numbers that is not twice as large.
  private static func kept(_ count: Int) -> MatrixMemory? {
    unused.withLock { blocks in
      let fitting = blocks.indices.filter { (count...2 * count).contains(blocks[$0].capacity) }
      return fitting.min { blocks[$0].capacity < blocks[$1].capacity }.map { blocks.remove(at: $0) }
    }
  }

  /// Keeps the memory for the next matrices.
  func reuse() {
    guard (Self.smallestCapacity...Self.unusedCapacity).contains(capacity) else {
      return unsafe numbers.deallocate()
    }
    Self.unused.withLock { blocks in
      blocks.append(self)
      while blocks.reduce(0, { $0 + $1.capacity }) > Self.unusedCapacity {
        unsafe blocks.removeFirst().numbers.deallocate()
      }
    }
  }
}

/// Rows of a matrix in the order in which products read them.
///
/// Each number of a product is one chain of fused multiply-adds, sum = x[k] · w[k] + sum for k = 0,
/// 1, … from 0. So it does not depend on how many rows are multiplied at once, on how a product is
/// divided among threads, or on the instruction set.
@safe package struct PackedRows: Sendable {
  /// The number of rows.
  package let count: Int
  /// The number of columns, over which products add up.
  package let columnCount: Int
  private let tiles: FloatMatrix
  private let instructions: InstructionSet

  private static let tileHeight = 6
  /// The largest number of rows of weights that are multiplied at once.
  package static let widestPanel = 64

  /// Packs some rows and columns of a matrix, for products with these instructions.
  package init(
    _ matrix: FloatMatrix, rows: Range<Int>, columns: Range<Int>,
    on instructions: InstructionSet = .best
  ) {
    self.instructions = instructions
    count = rows.count
    columnCount = columns.count
    let tileCount = (rows.count + Self.tileHeight - 1) / Self.tileHeight
    // Packing sets all numbers, also those of rows that the last tile lacks.
    tiles = FloatMatrix(
      rowCount: 1, columnCount: tileCount * columns.count * Self.tileHeight, isZero: false)
    guard !rows.isEmpty, !columns.isEmpty else { return }
    unsafe pleat_pack_tiles(
      instructions.identifier,
      matrix.address(
        row: rows.lowerBound, column: columns.lowerBound, lastRow: rows.upperBound - 1,
        lastColumn: columns.upperBound - 1),
      matrix.rowStride, count, columnCount, tiles.numbers)
  }

  /// The products with rows of weights: out[i, column + j] = Σ self[i, k] · weights[j, k].
  ///
  /// - Parameters:
  ///   - weights: `rowCount` rows of `columnCount` numbers.
  ///   - rowCount: The number of these rows.
  ///   - out: Receives the products.
  ///   - row: The first of `count` rows of `out`.
  ///   - column: The first of `rowCount` columns of `out`.
  package func multiply(
    _ weights: Span<Float>, rowCount: Int, into out: FloatMatrix, row: Int = 0, column: Int
  ) {
    precondition(weights.count == rowCount * columnCount, "expected rows of as many columns")
    guard count > 0, rowCount > 0 else { return }
    let target = unsafe out.address(
      row: row, column: column, lastRow: row + count - 1, lastColumn: column + rowCount - 1)
    // In bounds by the checks above.
    unsafe weights.withUnsafeBufferPointer { weights in
      unsafe pleat_multiply_rows(
        instructions.identifier, tiles.numbers, count, columnCount, weights.baseAddress,
        columnCount, rowCount, target, out.rowStride)
    }
  }

  /// The products with rows of a matrix: out[i, j] = Σ self[i, k] · matrix[rows[j], columns[k]].
  package func multiply(
    rowsOf matrix: FloatMatrix, _ rows: Range<Int>, columns: Range<Int>, into out: FloatMatrix
  ) {
    precondition(columns.count == columnCount, "expected as many columns")
    guard count > 0, !rows.isEmpty else { return }
    unsafe pleat_multiply_rows(
      instructions.identifier, tiles.numbers, count, columnCount,
      matrix.address(
        row: rows.lowerBound, column: columns.lowerBound, lastRow: rows.upperBound - 1,
        lastColumn: columns.upperBound - 1),
      matrix.rowStride, rows.count,
      out.address(row: 0, lastRow: count - 1, lastColumn: rows.count - 1), out.rowStride)
  }

  /// The products with columns of a matrix: out[row + i, column + j] = Σ self[i, k] ·
  /// matrix[rows[k], columns[j]].
  package func multiply(
    columnsOf matrix: FloatMatrix, _ columns: Range<Int>, rows: Range<Int>,
    into out: FloatMatrix, row: Int, column: Int
  ) {
    precondition(rows.count == columnCount, "expected a row for each column")
    guard count > 0, !columns.isEmpty, !rows.isEmpty else { return }
    unsafe pleat_multiply_columns(
      instructions.identifier, tiles.numbers, count, columnCount,
      matrix.address(
        row: rows.lowerBound, column: columns.lowerBound, lastRow: rows.upperBound - 1,
        lastColumn: columns.upperBound - 1),
      matrix.rowStride, columns.count,
      out.address(
        row: row, column: column, lastRow: row + count - 1,
        lastColumn: column + columns.count - 1),
      out.rowStride)
  }
}
