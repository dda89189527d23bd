import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// Changes other than a plain product: DoRA, vectors and replacements.
@Suite struct RowUpdateTests {
  private static let dora: JSONValue = ["use_dora": true]
  private static let tensors: [(name: String, shape: [Int])] = [
    ("a.lora_A.weight", [2, 8]), ("a.lora_B.weight", [12, 2]), ("a.lora_magnitude_vector", [12]),
  ]

  private func apply(
    _ change: PairedChange, _ adapter: ToyAdapter, _ numbers: ToyNumbers, to base: [Float],
    rows: Range<Int>, columns: Int
  ) throws -> RowUpdate {
    let elements = rows.lowerBound * columns..<rows.upperBound * columns
    var update = RowUpdate(Array(base[elements]), rows: rows, columnCount: columns)
    try update.apply(change, UpdateReader([(adapter.contents.tensors, numbers)]))
    return update
  }

  @Test(
    "DoRA gives each row its magnitude: m (W + ΔW) / ‖W + ΔW‖ (seed 411)", arguments: [false, true])
  func dora(isMapped: Bool) throws {
    let adapter = ToyAdapter.peft(Self.tensors, Self.dora)
    let numbers = adapter.numbers(seed: 411)
    var tensors = base([("a.weight", [12, 8])])
    if isMapped {
      tensors = base([("q.weight", [12, 8])])
      tensors[0].alias = "a.weight"
      tensors[0].aliasRows = DenseCase.map(fromInterleaved: true)
    }
    let change = try Pairing(tensors).pair(try adapter.read(), Pairing.Use(index: 0))[0]
    var random = Seeded(412)
    let base = random.weights(96)
    for rows in [0..<12, 3..<4, 5..<12, 7..<7, 0..<1] {
      let update = try apply(change, adapter, numbers, to: base, rows: rows, columns: 8)
      for row in rows {
        let own = isMapped ? row / 6 * 6 + row % 2 * 3 + row % 6 / 2 : row
        let sum = (0..<8).map { column in
          Double(base[row * 8 + column])
            + 3
            * (0..<2).reduce(0.0) { $0 + numbers[1, own * 2 + $1] * numbers[0, $1 * 8 + column] }
        }
        let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
        for column in 0..<8 {
          let wanted = numbers[2, own] * sum[column] / length
          let position = (row - rows.lowerBound) * 8 + column
          let limit = 1e-6 * numbers[2, own].magnitude
          #expect((Double(update.values[position]) - wanted).magnitude <= limit)
          let delta = wanted - Double(base[row * 8 + column])
          #expect(
            (Double(update.delta[position]) - delta).magnitude <= 1e-6 * (1 + delta.magnitude))
        }
      }
    }
  }

  @Test("DoRA of a row of zeros is not finite") func zeroRow() throws {
    let adapter = ToyAdapter.peft(Self.tensors, Self.dora)
    var numbers = adapter.numbers(seed: 413)
    numbers.tensors[1] = [Float](repeating: 0, count: 24)
    numbers.tensors[2] = [Float](repeating: 1, count: 12)
    let change = try Pairing(base([("a.weight", [12, 8])]))
      .pair(try adapter.read(), Pairing.Use(index: 0))[0]
    let zeros = [Float](repeating: 0, count: 96)
    let update = try apply(change, adapter, numbers, to: zeros, rows: 0..<12, columns: 8)
    #expect(update.values.allSatisfy { !$0.isFinite })
  }

  /// An adapter with a factor's bias or a replaced bias, and the paired change of the bias.
  private func vector(_ name: String, isMapped: Bool) throws -> (ToyAdapter, PairedChange) {
    let adapter = ToyAdapter.peft(
      Array(Self.tensors.prefix(2)) + [(name, [12])])
    var tensors = base([("a.weight", [12, 8]), ("a.bias", [12])])
    if isMapped {
      tensors = base([("q.weight", [12, 8]), ("q.bias", [12])])
      for (index, alias) in ["a.weight", "a.bias"].enumerated() {
        tensors[index].alias = alias
        tensors[index].aliasRows = DenseCase.map(fromInterleaved: true)
      }
    }
    let changes = try Pairing(tensors).pair(try adapter.read(), Pairing.Use(index: 0))
    return (adapter, try #require(changes.first { $0.tensor == 1 }))
  }

  @Test("a factor's bias is scaled and added (seed 414)", arguments: [false, true])
  func factorBias(isMapped: Bool) throws {
    let (adapter, change) = try vector("a.lora_B.bias", isMapped: isMapped)
    let numbers = adapter.numbers(seed: 414)
    var random = Seeded(415)
    let base = random.weights(12)
    let update = try apply(change, adapter, numbers, to: base, rows: 0..<1, columns: 12)
    for row in 0..<12 {
      let own = isMapped ? row / 6 * 6 + row % 2 * 3 + row % 6 / 2 : row
      #expect(update.delta[row] == 3 * numbers.tensors[2][own])
      #expect(update.values[row] == base[row] + 3 * numbers.tensors[2][own])
    }
  }

  @Test("a vector is replaced (seed 416)", arguments: [false, true])
  func replacedVector(isMapped: Bool) throws {
    let (adapter, change) = try vector("a.bias", isMapped: isMapped)
    let numbers = adapter.numbers(seed: 416)
    let update = try apply(
      change, adapter, numbers, to: [Float](repeating: 0.5, count: 12), rows: 0..<1, columns: 12)
    for row in 0..<12 {
      let own = isMapped ? row / 6 * 6 + row % 2 * 3 + row % 6 / 2 : row
      #expect(update.values[row] == numbers.tensors[2][own])
      #expect(update.delta[row] == numbers.tensors[2][own] - 0.5)
    }
  }

  @Test("rows of a matrix are replaced (seed 417)", arguments: [false, true])
  func replacedMatrix(isMapped: Bool) throws {
    let adapter = ToyAdapter.peft([("a.weight", [12, 8])])
    let numbers = adapter.numbers(seed: 417)
    var tensors = base([(isMapped ? "q.weight" : "a.weight", [12, 8])])
    if isMapped {
      tensors[0].alias = "a.weight"
      tensors[0].aliasRows = DenseCase.map(fromInterleaved: true)
    }
    let change = try Pairing(tensors).pair(try adapter.read(), Pairing.Use(index: 0))[0]
    let zeros = [Float](repeating: 0, count: 96)
    for rows in [0..<12, 2..<9, 11..<12, 4..<4] {
      let update = try apply(change, adapter, numbers, to: zeros, rows: rows, columns: 8)
      let wanted = rows.flatMap { row in
        let own = isMapped ? row / 6 * 6 + row % 2 * 3 + row % 6 / 2 : row
        return Array(numbers.tensors[0][own * 8..<own * 8 + 8])
      }
      #expect(update.values.bits == wanted.bits)
      #expect(update.delta.bits == wanted.map { 0 + $0 }.bits)
    }
  }
}
