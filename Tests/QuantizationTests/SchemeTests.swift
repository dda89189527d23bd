import Kernels
import Quantization
import TensorModel
import TestSupport
import Testing

/// What holds of every scheme in the registry.
@Suite struct SchemeTests {
  /// A scheme with a grouping; tests print it.
  struct Case: Sendable, CustomTestStringConvertible {
    var scheme: any GroupScheme.Type
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
  }.filter { $0.scheme.refusal(of: $0.grouping) == nil }

  private static let rowCount = 6

  /// Rows of weights: large, small, constant, zero, one-sided, and with one outlier.
  ///
  /// None is so small that the scale of 8-bit codes would be a subnormal half.
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
    try item.scheme.encode(values, into: rows)
    return rows
  }

  private static func decode(_ rows: GroupedRows) -> [Float] {
    var values = [Float](repeating: .nan, count: rows.codes.count)
    rows.decode(into: &values)
    return values
  }

  @Test("every scheme makes groups of 4 bits and 32 columns, with each of its offsets")
  func everyScheme() {
    for scheme in Schemes.all {
      for offset in scheme.offsets {
        let grouping = Grouping(bits: 4, groupSize: 32, offset: offset, parameters: .f16)
        #expect(scheme.refusal(of: grouping) == nil, "\(scheme.name)")
      }
    }
  }

  @Test("ggml makes the groups of five block types, and no others")
  func blocks() {
    let made = Self.cases.filter { $0.scheme == GGMLScheme.self }.map(\.grouping)
    let expected = [(4, Grouping.Offset.bias), (4, .none), (5, .bias), (5, .none), (8, .none)].map {
      Grouping(bits: $0, groupSize: 32, offset: $1, parameters: .f16)
    }
    #expect(made == expected)
  }

  @Test("names are unique and lead to the scheme") func names() throws {
    #expect(Set(Schemes.all.map { $0.name }).count == Schemes.all.count)
    for scheme in Schemes.all { #expect(try Schemes.named(scheme.name) == scheme) }
    let error = Laws.error { () throws(ModelError) in try Schemes.named("minmaxx") }
    #expect(error?.kind == .usage)
    #expect(error?.expected == Schemes.all.map { $0.name }.joined(separator: ", "))
  }

  @Test(
    "codes fit their bits, and parameters are numbers of their type (seed 41)", arguments: cases)
  func ranges(item: Case) throws {
    let rows = try Self.encode(Self.values(2 * item.grouping.groupSize, seed: 41), item)
    #expect(rows.codes.allSatisfy { Int($0) <= item.grouping.largestCode })
    let type = item.grouping.parameters
    #expect(rows.scales.bits == Numbers.rounded(rows.scales, to: type).bits)
    #expect(rows.biases.bits == Numbers.rounded(rows.biases, to: type).bits)
  }

  // A bfloat scale is off by up to 2^-9, which at the last of many codes is more than half a step.
  // With a zero point both ends of a group may round inwards, which leaves codes unused; so may the
  // nearer end in MLX.
  @Test(
    "encoding a decoded matrix gives the same codes (seed 42)",
    arguments: cases.filter {
      $0.grouping.offset != .zeroPoint && $0.scheme != MLXScheme.self
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
    "the error is at most half a step, and what rounding the parameters costs (seed 43)",
    arguments: cases)
  func errorBound(item: Case) throws {
    let values = Self.values(2 * item.grouping.groupSize, seed: 43)
    let rows = try Self.encode(values, item)
    let decoded = Self.decode(rows)
    let (size, grouping) = (item.grouping.groupSize, item.grouping)
    for index in values.indices {
      let group = index / size
      let scale = Double(rows.scales[group].magnitude)
      let bias = grouping.offset == .bias ? Double(rows.biases[group].magnitude) : 0
      let rounding =
        Self.unit(grouping.parameters) * (scale * Double(grouping.largestCode) + bias)
        + Self.smallest(grouping.parameters) * Double(grouping.largestCode + 1)
      // Around zero the farther side has one code less, and steps of MLX may have become smaller:
      // the end may be a whole step away.
      let isClamped =
        (grouping.offset == .none || item.scheme == MLXScheme.self)
        && Int(rows.codes[index]) == grouping.largestCode
      let bound = scale * (isClamped ? 1 : 0.5) + rounding + 1e-6 * (scale * 256 + bias)
      let error = (Double(values[index]) - Double(decoded[index])).magnitude
      #expect(error <= bound, "\(values[index]) became \(decoded[index]), scale \(scale)")
    }
  }

  /// The largest relative error of rounding to a type.
  private static func unit(_ type: ScalarType) -> Double {
    switch type {
    case .f16: 0x1p-11
    case .bf16: 0x1p-8
    default: 0x1p-24
    }
  }

  /// The largest absolute error of rounding a small number to a type.
  private static func smallest(_ type: ScalarType) -> Double { type == .f16 ? 0x1p-25 : 0 }

  @Test("zero stays zero around zero, and the bias stays as it is", arguments: cases)
  func exactValues(item: Case) throws {
    let size = item.grouping.groupSize
    let values = (0..<Self.rowCount * 2 * size).map {
      Float($0 % 2 == 0 ? 0 : $0 % 3 == 0 ? 1 : -1)
    }
    let decoded = Self.decode(try Self.encode(values, item))
    // Of ends that are equally far MLX takes the largest.
    let bias: Float = item.scheme == MLXScheme.self ? 1 : -1
    for (value, found) in zip(values, decoded) {
      if value == 0 && item.grouping.offset == .none { #expect(found == 0) }
      if value == bias && item.grouping.offset == .bias { #expect(found == bias) }
    }
  }

  @Test(
    "a value that is not finite, and a parameter that overflows, are faults of their group",
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
