import Formats
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Checkpoints of HQQ: groups with fractional zero points, which tensors beside them describe.
@Suite struct HQQWeightTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let config = #"{"quantization_config":{"quant_method":"hqq"}}"#

  /// A weight of 12 rows and 32 columns in groups of 16, in codes of four bits.
  struct Subject {
    let rows = 12
    let columns = 32
    let groupSize = 16
    let codes: [UInt8]
    let scales: [Float]
    let zeros: [Float]

    init(seed: UInt64) {
      var random = Seeded(seed)
      codes = random.codes(rows * columns, bits: 4)
      scales = Numbers.rounded(random.weights(24), to: .f16)
      zeros = Numbers.rounded(random.weights(24).map { $0 * 10 + 7 }, to: .f16)
    }

    /// The first half of the codes is in the high halves of bytes, the second in the low ones.
    var tensors: [Toy] {
      let half = codes.count / 2
      let units = (0..<half).map { codes[$0] << 4 | codes[half + $0] }
      return [
        Toy("a.W_q", .u8, [12, 16], bytes: units), Toy("a.scale", .f16, [24, 1], scales),
        Toy("a.zero", .f16, [24, 1], zeros), Self.number("a.nbits", 4),
        Self.number("a.group_size", 16), Self.number("a.axis", 1),
        Toy("a.shape", .i64, [2], bytes: [12, 32].flatMap { [$0, 0, 0, 0, 0, 0, 0, 0] }),
        Self.text("a.packing", "4bit_u8"), Toy("a.channel_wise", .u8, [], bytes: [1]),
        Toy("a.quant_zero", .u8, [], bytes: [0]), Toy("a.bias", .f16, [12], Array(scales[..<12])),
      ]
    }

    static func number(_ name: String, _ value: UInt8) -> Toy {
      Toy(name, .i32, [], bytes: [value, 0, 0, 0])
    }

    static func text(_ name: String, _ text: String) -> Toy {
      Toy(name, .u8, [text.utf8.count], bytes: Array(text.utf8))
    }

    var values: [Float] {
      codes.indices.map { (Float(codes[$0]) - zeros[$0 / groupSize]) * scales[$0 / groupSize] }
    }
  }

  @Test("weights are read as their numbers (seed 340)") func reading() throws {
    let subject = Subject(seed: 340)
    let model = try Model.open(
      try scratch.checkpoint(subject.tensors, config: Self.config, as: "model"))
    try model.requireNumbers()
    #expect(model.catalog.tensors.map(\.name) == ["a.weight", "a.bias"])
    var grouping = Grouping(bits: 4, groupSize: 16, offset: .zeroPoint, parameters: .f16)
    grouping.hasFractionalZeroPoints = true
    #expect(model.catalog.tensors[0].encoding == .grouped(grouping))
    #expect(try model.floats(of: 0)?.bits == subject.values.bits)
    // Rows on both sides of the middle, where codes change their half of a byte.
    let reader = WeightReader(model: model)
    let tensor = try #require(reader.tensor(0))
    let found = try reader.values(of: tensor, rows: 5..<8)
    #expect(found.bits == Array(subject.values[5 * 32..<8 * 32]).bits)
  }

  @Test("no format stores fractional zero points as they are") func admissions() {
    var grouping = Grouping(bits: 4, groupSize: 32, offset: .zeroPoint, parameters: .f16)
    grouping.hasFractionalZeroPoints = true
    for format in Formats.all {
      guard case .refused = format.carries(.grouped(grouping)) else {
        Issue.record("\(format.name) stores fractional zero points")
        continue
      }
    }
  }

  /// A change of the tensors, and what the error says.
  struct Fault: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var replaced: String
    var by: Toy?
    var kind: ModelError.Kind
    var tensor: String
    var fragments: [String]
  }

  static let faults = [
    Fault(
      testDescription: "no zero points", replaced: "a.zero", by: nil, kind: .malformed,
      tensor: "a", fragments: ["a tensor of a quantized weight is missing", "a.zero"]),
    Fault(
      testDescription: "no codes", replaced: "a.W_q", by: nil, kind: .malformed, tensor: "a",
      fragments: ["a tensor of a quantized weight is missing", "expected a.W_q"]),
    Fault(
      testDescription: "zero points of another shape", replaced: "a.zero",
      by: Toy("a.zero", .f16, [1, 24], seed: 341), kind: .malformed, tensor: "a.zero",
      fragments: ["expected F16, BF16 or F32, both of one type, 24×1", "found F16, 1×24"]),
    Fault(
      testDescription: "zero points of another type", replaced: "a.zero",
      by: Toy("a.zero", .f32, [24, 1], seed: 342), kind: .malformed, tensor: "a.zero",
      fragments: ["both of one type", "found F32, 24×1"]),
    Fault(
      testDescription: "an unknown axis", replaced: "a.axis", by: Subject.number("a.axis", 2),
      kind: .unsupported, tensor: "a.axis", fragments: ["expected 0 or 1", "found 2", "hqq's"]),
    Fault(
      testDescription: "an unknown packing", replaced: "a.packing",
      by: Subject.text("a.packing", "4bit_32"), kind: .unsupported, tensor: "a.W_q",
      fragments: ["expected 1bit_u8, 2bit_u8, 3bit_32, 4bit_u8, 8bit_u8", "found 4bit_32"]),
    Fault(
      testDescription: "more bits than the packing has", replaced: "a.nbits",
      by: Subject.number("a.nbits", 5), kind: .unsupported, tensor: "a.W_q",
      fragments: ["that 4bit_u8 holds", "found 5.0 bits"]),
    Fault(
      testDescription: "a group that does not divide the weight", replaced: "a.group_size",
      by: Subject.number("a.group_size", 5), kind: .malformed, tensor: "a.group_size",
      fragments: ["expected a divisor of 384 numbers", "found 5"]),
    Fault(
      testDescription: "no group size", replaced: "a.group_size",
      by: Subject.number("a.group_size", 0), kind: .malformed, tensor: "a.group_size",
      fragments: ["found 0"]),
    Fault(
      testDescription: "groups that cross rows", replaced: "a.group_size",
      by: Subject.number("a.group_size", 64), kind: .unsupported, tensor: "a.W_q",
      fragments: ["cross its rows", "expected a multiple of 64 columns", "found 12×32"]),
    Fault(
      testDescription: "codes of another shape", replaced: "a.W_q",
      by: Toy("a.W_q", .u8, [12, 8], bytes: [UInt8](repeating: 0, count: 96)), kind: .malformed,
      tensor: "a.W_q", fragments: ["expected U8 12×16 for 12×32 in groups of 16", "12×8"]),
    Fault(
      testDescription: "codes in words", replaced: "a.W_q",
      by: Toy("a.W_q", .i32, [12, 4], bytes: [UInt8](repeating: 0, count: 192)), kind: .malformed,
      tensor: "a.W_q", fragments: ["expected U8 12×16", "found I32, 12×4"]),
    Fault(
      testDescription: "a shape that overflows", replaced: "a.shape",
      by: Toy("a.shape", .i64, [2], bytes: [UInt8](repeating: 127, count: 16)), kind: .malformed,
      tensor: "a.shape", fragments: ["expected two positive extents"]),
    Fault(
      testDescription: "one scale for the weight", replaced: "a.channel_wise",
      by: Toy("a.channel_wise", .u8, [], bytes: [0]), kind: .unsupported,
      tensor: "a.channel_wise", fragments: ["expected 1", "found 0"]),
    Fault(
      testDescription: "quantized zero points", replaced: "a.bias",
      by: Toy("a.zero_q", .u8, [24], bytes: [UInt8](repeating: 0, count: 24)),
      kind: .unsupported, tensor: "a.W_q", fragments: ["quantized zero points", "a.zero_q"]),
    Fault(
      testDescription: "a weight beside the codes", replaced: "a.bias",
      by: Toy("a.weight", .f16, [12, 32], seed: 343), kind: .malformed, tensor: "a.weight",
      fragments: ["stored twice"]),
  ]

  @Test("tensors that do not fit are refused (seed 344)", arguments: faults)
  func refusals(fault: Fault) throws {
    var tensors = Subject(seed: 344).tensors
    let index = try #require(tensors.firstIndex { $0.name == fault.replaced })
    tensors.remove(at: index)
    if let toy = fault.by { tensors.append(toy) }
    let path = try scratch.checkpoint(tensors, config: Self.config, as: "model")
    let error = try #require(
      Laws.error { () throws(ModelError) in try Model.open(path).requireNumbers() })
    #expect(error.kind == fault.kind)
    #expect(error.tensor == fault.tensor)
    for fragment in fault.fragments { #expect("\(error)".contains(fragment), "\(error)") }
  }

  @Test("a byte that is no code of five bits is malformed when it is read") func wideCode() throws {
    var tensors = Subject(seed: 345).tensors
    var codes = [UInt8](repeating: 31, count: 12 * 32)
    codes[5 * 32 + 7] = 32
    for toy in [
      Toy("a.W_q", .u8, [24, 16], bytes: codes), Subject.number("a.nbits", 5),
      Subject.text("a.packing", "8bit_u8"),
    ] {
      let index = try #require(tensors.firstIndex { $0.name == toy.name })
      tensors[index] = toy
    }
    let model = try Model.open(try scratch.checkpoint(tensors, config: Self.config, as: "model"))
    let reader = WeightReader(model: model)
    let tensor = try #require(reader.tensor(0))
    let error = try #require(
      Laws.error { () throws(ModelError) in _ = try reader.values(of: tensor, rows: 0..<12) })
    #expect(error.kind == .malformed && error.tensor == "a.W_q")
    #expect("\(error)".contains("expected 0 to 31, found 32 in row 5, column 7"), "\(error)")
  }
}
