import Adapters
import Bytes
import Kernels
import TensorModel
import TestSupport
import Testing

/// What adapters add to rows of the base model, compared with plain loops in doubles.
@Suite struct UpdateReaderTests {
  /// All ranges of rows, including empty ones.
  private func ranges(_ count: Int) -> [Range<Int>] {
    (0...count).flatMap { first in (first...count).map { first..<$0 } }
  }

  @Test("every range of rows gets its part of the change (seed 401)", arguments: DenseCase.all)
  func ranges(dense: DenseCase) throws {
    let numbers = dense.adapter.numbers(seed: 401)
    var random = Seeded(402)
    let base = random.weights(dense.rowCount * dense.columnCount)
    let change = try dense.change()
    let reader = dense.reader(numbers)
    for rows in ranges(dense.rowCount) {
      let elements = rows.lowerBound * dense.columnCount..<rows.upperBound * dense.columnCount
      var update = RowUpdate(
        Array(base[elements]), rows: rows, columnCount: dense.columnCount)
      try update.apply(change, reader)
      try #require(update.values.count == elements.count && update.delta.count == elements.count)
      for (index, position) in elements.enumerated() {
        let (row, column) = (position / dense.columnCount, position % dense.columnCount)
        let (value, size) = dense.element(numbers, row, column)
        let limit = dense.tolerance(size)
        #expect(
          (Double(update.delta[index]) - value).magnitude <= limit, "\(rows): \(row), \(column)")
        let wanted = Double(base[position]) + value
        let error = (Double(update.values[index]) - wanted).magnitude
        #expect(error <= limit + wanted.magnitude * 0x1p-24, "\(rows): \(row), \(column)")
      }
      #expect(update.base.bits == base[elements].map(\.bitPattern))
    }
  }

  @Test("the same row has the same bits in every range (seed 403)", arguments: DenseCase.all)
  func sameBits(dense: DenseCase) throws {
    let (change, numbers) = (try dense.change(), dense.adapter.numbers(seed: 403))
    func delta(_ rows: Range<Int>, _ reader: UpdateReader) throws -> [UInt32] {
      var update = RowUpdate(
        [Float](repeating: 0, count: rows.count * dense.columnCount), rows: rows,
        columnCount: dense.columnCount)
      try update.apply(change, reader)
      return update.delta.bits
    }
    let whole = try delta(0..<dense.rowCount, dense.reader(numbers))
    let reader = dense.reader(numbers)
    // Backwards, so that factors cached for one range would be wrong for the next.
    for rows in ranges(dense.rowCount).reversed() {
      let expected = whole[
        rows.lowerBound * dense.columnCount..<rows.upperBound * dense.columnCount]
      #expect(try delta(rows, reader) == Array(expected), "\(rows)")
    }
  }

  @Test("products are summed in the order of k and scaled once (seed 404)") func order() throws {
    let (dense, rows) = (DenseCase.linear, 0..<6)
    let numbers = dense.adapter.numbers(seed: 404)
    var update = RowUpdate([Float](repeating: 0, count: 48), rows: rows, columnCount: 8)
    try update.apply(try dense.change(), dense.reader(numbers))
    for position in 0..<48 {
      var sum = Float(0)
      for k in 0..<2 {
        sum += numbers.tensors[1][position / 8 * 2 + k] * numbers.tensors[0][k * 8 + position % 8]
      }
      #expect(update.delta[position] == 3 * sum)
    }
  }

  @Test("cached factors of one tensor are not used for another (seed 405)") func manyTensors()
    throws
  {
    let adapter = ToyAdapter.peft([
      ("a.lora_A.weight", [2, 8]), ("a.lora_B.weight", [6, 2]), ("b.lora_A.weight", [2, 8]),
      ("b.lora_B.weight", [6, 2]),
    ])
    let numbers = adapter.numbers(seed: 405)
    let reader = UpdateReader([(adapter.contents.tensors, numbers)])
    let changes = try Pairing(base([("a.weight", [6, 8]), ("b.weight", [6, 8])]))
      .pair(try adapter.read(), Pairing.Use(index: 0))
    for change in changes + changes.reversed() {
      let product = try #require(change.lowRank)
      var delta = [Float](repeating: 0, count: 48)
      try reader.add(change, product, rows: 0..<6, to: &delta)
      let first = change.tensor * 2
      for position in delta.indices {
        var sum = Float(0)
        for k in 0..<2 {
          sum +=
            numbers.tensors[first + 1][position / 8 * 2 + k]
            * numbers.tensors[first][k * 8 + position % 8]
        }
        #expect(delta[position] == 3 * sum)
      }
    }
  }

  @Test("cached factors of one adapter are not used for another (seed 406)")
  func manyAdapters() throws {
    let dense = DenseCase.linear
    let numbers = [dense.adapter.numbers(seed: 406), dense.adapter.numbers(seed: 407)]
    let reader = UpdateReader(numbers.map { (dense.adapter.contents.tensors, $0) })
    var update = RowUpdate([Float](repeating: 0, count: 48), rows: 0..<6, columnCount: 8)
    for index in [1, 0] {
      var change = try dense.change()
      change.adapter = index
      try update.apply(change, reader)
    }
    for position in 0..<48 {
      let parts = numbers.map { dense.element($0, position / 8, position % 8) }
      let wanted = parts[0].value + parts[1].value
      let limit = dense.tolerance(parts[0].size + parts[1].size)
      #expect((Double(update.delta[position]) - wanted).magnitude <= limit)
    }
  }

  @Test("rank 0 changes no bit (seed 408)") func rankZero() throws {
    let adapter = ToyAdapter.mlx([("a.lora_a", [8, 0]), ("a.lora_b", [0, 6])])
    let change = try Pairing(base([("a.weight", [6, 8])]))
      .pair(try adapter.read(), Pairing.Use(index: 0))[0]
    let reader = UpdateReader([(adapter.contents.tensors, adapter.numbers(seed: 408))])
    var random = Seeded(408)
    let base = random.weights(48)
    var update = RowUpdate(base, rows: 0..<6, columnCount: 8)
    try update.apply(change, reader)
    #expect(update.values.bits == base.bits)
    #expect(update.delta.allSatisfy { $0 == 0 })
  }

  @Test("with pooled inputs, the reader adds one number for each group (seed 409)")
  func groups() throws {
    let adapter = ToyAdapter.peft([("a.lora_A.weight", [2, 3]), ("a.lora_B.weight", [6, 2])])
    let numbers = adapter.numbers(seed: 409)
    let change = try Pairing(base([("a.weight", [6, 48])]))
      .pair(try adapter.read(), Pairing.Use(index: 0, pooling: .sum))[0]
    let product = try #require(change.lowRank)
    let reader = UpdateReader([(adapter.contents.tensors, numbers)])
    var delta = [Float](repeating: 1, count: 9)
    try reader.add(change, product, rows: 2..<5, to: &delta)
    for position in delta.indices {
      var sum = Float(0)
      for k in 0..<2 {
        sum +=
          numbers.tensors[1][(2 + position / 3) * 2 + k] * numbers.tensors[0][k * 3 + position % 3]
      }
      #expect(delta[position] == 1 + 3 * sum)
    }
  }
}
