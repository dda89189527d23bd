import Kernels
import TestSupport
import Testing

@Suite struct BlockEncodingTests {
  static let types: [BlockType] = [.q4_0, .q4_1, .q5_0, .q5_1, .q8_0]

  private func groups(seed: UInt64) -> [Float] {
    var random = Seeded(seed)
    var values = GroupTests.groups(of: 32, seed: seed)
    // Scales around 2^-128, the smallest with a finite reciprocal, and zeros of both signs.
    for scale: Float in [0x1p-120, 0x1p-123, 0x1p-124, 0x1p-125, 0x1p-128, 0x1p-146, 0x1p-148] {
      for _ in 0..<8 { values += random.weights(32, scale: scale) }
    }
    for _ in 0..<40 {
      values += (0..<32).map { _ in [0, -0.0, 0.75].randomElement(using: &random) ?? 0 }
      values += (0..<32).map { _ in [0, -0.0].randomElement(using: &random) ?? 0 }
    }
    // Quotients half way between codes, in each type; `edge` fixes the scale.
    for (edge, most) in [(Float(-8), 7), (-16, 15), (127, 127), (0, 15), (0, 31)] {
      for _ in 0..<20 {
        values +=
          [edge] + (1..<32).map { _ in Float(Int.random(in: -most...most, using: &random)) / 2 }
      }
    }
    return values
  }

  @Test(
    "blocks match their plain twin (seed 131)", arguments: InstructionSet.available, types)
  func twin(set: InstructionSet, type: BlockType) throws {
    let values = groups(seed: 131)
    let expected = try GGMLTwin(type: type).encode(values).get()
    #expect(type.encode(values, on: set) == .success(expected))
  }

  private func expect(
    _ type: BlockType, _ values: [Float], scale: Float, bias: Float? = nil, _ codes: [UInt8],
    on set: InstructionSet, at location: SourceLocation = #_sourceLocation
  ) throws {
    let block = values + [Float](repeating: values.last ?? 0, count: 32 - values.count)
    let found = try type.encode(block, on: set).get()
    #expect(found.scales == [scale.bitPattern], sourceLocation: location)
    #expect(found.biases == (bias.map { [$0.bitPattern] } ?? []), sourceLocation: location)
    #expect(Array(found.codes.prefix(codes.count)) == codes, sourceLocation: location)
  }

  @Test("blocks match values computed by hand", arguments: InstructionSet.available)
  func byHand(set: InstructionSet) throws {
    // Halves are rounded up, also at -7.5. 8 would be code 16, and is clamped.
    try expect(
      .q4_0, [-8, 8, 0, 0.5, 1.5, -0.5, -7.5, 0.25], scale: 1, [0, 15, 8, 9, 10, 8, 1, 8], on: set)
    try expect(.q4_0, [8, -8, 0, 0.5], scale: -1, [0, 15, 8, 8], on: set)
    try expect(.q5_0, [-16, 16, 0.5, -0.5, -15.5], scale: 1, [0, 31, 17, 16, 1], on: set)
    try expect(.q4_1, [-3, 12, -2.5, -1.5, 11.5], scale: 1, bias: -3, [0, 15, 1, 2, 15], on: set)
    try expect(.q5_1, [-3, 28, -2.5, -1.5], scale: 1, bias: -3, [0, 31, 1, 2], on: set)
    // Halves are rounded away from zero.
    try expect(
      .q8_0, [127, -127, 0.5, -0.5, 1.5, -1.5, 0, 0.25], scale: 1,
      [255, 1, 129, 127, 130, 126, 128, 128], on: set)
    // 2.4995 is 7.4985 times the scale 1/3. With the scale as float16, which is a little smaller,
    // it would be 7.5004 times.
    try expect(.q4_1, [0, 5, 2.4995], scale: 0x1.554p-2, bias: 0, [0, 15, 7], on: set)
  }

  @Test("blocks of zeros have the bytes of llama.cpp", arguments: InstructionSet.available)
  func zeros(set: InstructionSet) throws {
    for zero: Float in [0, -0.0] {
      // 0 / -8 is -0.
      try expect(.q4_0, [zero], scale: -0.0, [8, 8], on: set)
      try expect(.q5_0, [zero], scale: -0.0, [16, 16], on: set)
      try expect(.q8_0, [zero], scale: 0, [128, 128], on: set)
      try expect(.q4_1, [zero], scale: 0, bias: zero, [0, 0], on: set)
      try expect(.q5_1, [zero, -zero], scale: 0, bias: zero, [0, 0], on: set)
    }
    try expect(.q4_1, [15, 0, -0.0], scale: 1, bias: 0, [15, 0, 0], on: set)
    try expect(.q4_1, [15, -0.0, 0], scale: 1, bias: -0.0, [15, 0, 0], on: set)
    // The scale is so small that its reciprocal is infinite: codes are 0 even if the value is not.
    try expect(.q4_0, [0x1p-127, 0], scale: -0.0, [0, 0], on: set)
    try expect(.q8_0, [-0x1p-127, 0], scale: 0, [128, 128], on: set)
    try expect(.q4_1, [0x1p-127, 0], scale: 0, bias: 0, [0, 0], on: set)
  }

  @Test(
    "a value that is not finite is reported with its group (seed 132)",
    arguments: InstructionSet.available, types)
  func nonFinite(set: InstructionSet, type: BlockType) {
    var random = Seeded(132)
    let values = random.weights(80 * 32)
    for group in [0, 1, 31, 32, 33, 63, 79] {
      for position in [0, 15, 31] {
        for value: Float in [.nan, -.nan, .infinity, -.infinity] {
          var broken = values
          broken[group * 32 + position] = value
          broken[80 * 32 - 1] = .nan
          let fault = GroupFault(kind: .nonFiniteValue, group: group)
          #expect(type.encode(broken, on: set) == .failure(fault))
        }
      }
    }
  }

  @Test("a parameter that overflows its format is reported", arguments: InstructionSet.available)
  func overflow(set: InstructionSet) {
    func fault(_ type: BlockType, _ pair: (Float, Float)) -> GroupFault? {
      let quiet = [Float](repeating: 1, count: 32 * 40)
      let group = (0..<32).map { $0 % 2 == 0 ? pair.0 : pair.1 }
      guard case .failure(let fault) = type.encode(quiet + group + quiet, on: set) else {
        return nil
      }
      return fault
    }
    let found = GroupFault(kind: .parameterOverflow, group: 40)
    let most = Float.greatestFiniteMagnitude
    // 65520 is the first value that overflows float16.
    #expect(fault(.q4_0, (65520 * 8, 0)) == found)
    #expect(fault(.q4_0, (65519 * 8, 0)) == nil)
    #expect(fault(.q8_0, (65520 * 127, 0)) == found)
    #expect(fault(.q8_0, (-65519 * 127, 0)) == nil)
    #expect(fault(.q4_1, (65520, 65519)) == nil)
    #expect(fault(.q4_1, (65520, 65520)) == found)
    #expect(fault(.q5_1, (-65520, 0)) == found)
    #expect(fault(.q5_1, (-most, most)) == found)
  }

  @Test("encoding no values succeeds", arguments: InstructionSet.available, types)
  func empty(set: InstructionSet, type: BlockType) throws {
    #expect(try type.encode([], on: set).get() == GroupTwin.Encoded())
  }
}
