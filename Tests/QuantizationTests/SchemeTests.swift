import Kernels
import LawSupport
import Quantization
import TensorModel
import TestSupport
import Testing

/// Properties of every registered scheme.
@Suite struct SchemeTests {
  /// A scheme with a grouping.
  struct Case: Sendable, CustomTestStringConvertible {
    var scheme: Scheme
    var grouping: Grouping
    var testDescription: String { "\(scheme.name): \(grouping)" }
  }

  static let cases = Schemes.all.flatMap { scheme in
    Every.triple(
      of: Grouping.supportedBits, [16, 32, 64, 96, 256], Grouping.supportedParameters
    ).flatMap { bits, size, parameters in
      scheme.offsets.map { offset in
        Case(
          scheme: scheme,
          grouping: Grouping(
            bits: bits, groupSize: size, offset: offset, parameters: parameters))
      }
    }
  }.filter { $0.scheme.refusal($0.grouping) == nil }

  private static let rowCount = 6

  /// Rows of weights: large, small, constant, zero, one-sided, and with one outlier.
  ///
  /// None is so small that the scale of 8-bit codes would be a subnormal F16 number.
  private static func values(_ columns: Int, seed: UInt64) -> [Float] {
    var random = Seeded(seed)
    var values = random.weights(columns, scale: 0.1) + random.weights(columns, scale: 0.04)
    values += [Float](repeating: -0.375, count: columns) + [Float](repeating: 0, count: columns)
    values += random.weights(columns).map(\.magnitude)
    return values + random.weights(columns, scale: 0.01).enumerated().map { $0 == 3 ? 4.5 : $1 }
  }

  private static func encode(_ values: [Float], _ item: Case) throws -> GroupedRows {
    let rows = GroupedRows(
      grouping: item.grouping, columnCount: values.count / rowCount, rowCount: rowCount)
    try item.scheme.quantizer(item.grouping).encode(values, weighing: nil, into: rows)
    return rows
  }

  private static func decode(_ rows: GroupedRows) -> [Float] {
    var values = [Float](repeating: .nan, count: rows.codes.count)
    rows.decode(into: &values)
    return values
  }

  @Test("every scheme supports 4-bit groups of 32 with each of its offsets")
  func everyScheme() {
    for scheme in Schemes.all {
      for offset in scheme.offsets {
        let grouping = Grouping(bits: 4, groupSize: 32, offset: offset, parameters: .f16)
        #expect(scheme.refusal(grouping) == nil, "\(scheme.name)")
      }
    }
  }

  @Test("the ggml scheme makes exactly the groups of five block types")
  func blocks() {
    let made = Self.cases.filter { $0.scheme.name == "ggml" }.map(\.grouping)
    let expected = [(4, Grouping.Offset.bias), (4, .none), (5, .bias), (5, .none), (8, .none)].map {
      Grouping(bits: $0, groupSize: 32, offset: $1, parameters: .f16)
    }
    #expect(made == expected)
  }

  @Test("names are unique and find their scheme") func names() throws {
    #expect(Set(Schemes.all.map { $0.name }).count == Schemes.all.count)
    for scheme in Schemes.all { #expect(try Schemes.named(scheme.name).name == scheme.name) }
    let error = Laws.error { () throws(ModelError) in try Schemes.named("minmaxx") }
    #expect(error?.kind == .usage)
    #expect(error?.expected == Schemes.all.map { $0.name }.joined(separator: ", "))
  }

  @Test("every quantizer keeps the quantizer law (seed 41)", arguments: cases)
  func law(item: Case) throws {
    try QuantizerLaw.check(
      item.scheme.quantizer(item.grouping), Self.values(2 * item.grouping.groupSize, seed: 41),
      rowCount: Self.rowCount)
  }

  @Test("the standard scheme makes everything")
  func standard() {
    #expect(Set(Schemes.standard.offsets) == Set(Grouping.Offset.allCases))
    #expect(Schemes.standard.makesBlocks)
    #expect(Schemes.all.contains { $0.name == Schemes.standard.name })
  }

  // Excluded: a BF16 scale is off by up to 2^-9, which is more than half a step at the last of many
  // codes. With a zero point, both ends of a group may round inwards, which leaves codes unused; in
  // MLX, the nearer end may. A search may leave codes unused, too.
  @Test(
    "encoding a decoded matrix again gives the same codes (seed 42)",
    arguments: cases.filter {
      $0.grouping.offset != .zeroPoint && $0.scheme.name != "mlx" && $0.scheme.name != "search"
        && ($0.grouping.parameters != .bf16 || $0.grouping.bits <= 4)
    })
  func idempotence(item: Case) throws {
    let rows = try Self.encode(Self.values(2 * item.grouping.groupSize, seed: 42), item)
    let again = try Self.encode(Self.decode(rows), item)
    #expect(again.codes == rows.codes)
    guard item.grouping.parameters != .f32 else { return }
    #expect(Self.decode(again) == Self.decode(rows))
  }

  @Test(
    "groups with a bias keep the bias exactly, and all other groups keep 0 exactly",
    arguments: cases.filter { $0.scheme.name != "search" || $0.grouping.offset != .bias })
  func exactValues(item: Case) throws {
    let size = item.grouping.groupSize
    let values = (0..<Self.rowCount * 2 * size).map {
      Float($0 % 2 == 0 ? 0 : $0 % 3 == 0 ? 1 : -1)
    }
    let decoded = Self.decode(try Self.encode(values, item))
    let exact: Float
    switch item.grouping.offset {
    // If both ends are equally far from zero, MLX uses the larger one as bias.
    case .bias: exact = item.scheme.name == "mlx" ? 1 : -1
    // The central code or the zero point stands for zero.
    case .none, .zeroPoint: exact = 0
    }
    let found = zip(values, decoded).filter { $0.0 == exact }.map { $0.1 }
    #expect(!found.isEmpty)
    #expect(found.allSatisfy { $0 == exact })
  }

  @Test(
    "values that are not finite and parameters that overflow are faults of their group",
    arguments: cases.filter {
      $0.grouping.bits == 4 && $0.grouping.groupSize == 32 && $0.grouping.parameters == .f16
    })
  func faults(item: Case) throws {
    for (value, kind) in [
      (Float.nan, GroupFault.Kind.nonFiniteValue), (.infinity, .nonFiniteValue),
      (-.infinity, .nonFiniteValue), (1e30, .parameterOverflow), (-1e30, .parameterOverflow),
    ] {
      var values = [Float](repeating: 0.5, count: 6 * 64)
      values[5 * 32 + 7] = value
      let fault = #expect(throws: GroupFault.self) {
        try Self.encode(values, item)
      }
      #expect(fault == GroupFault(kind: kind, group: 5), "\(value)")
    }
  }
}
