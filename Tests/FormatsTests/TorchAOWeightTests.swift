import Formats
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Checkpoints of torchao: codes and scales, which the metadata of the file describes.
@Suite struct TorchAOWeightTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let config = #"{"quantization_config":{"quant_method":"torchao"}}"#

  /// A weight of 6 rows and 64 columns in groups of 32, with codes of four bits in bytes.
  struct Subject {
    var codes: [Int8]
    var zeros: [Int8]
    let scales: [Float]
    var type = "IntxUnpackedToInt8Tensor"
    var block = "[1,32]"
    var parts = #""qdata","scale","zero_point""#

    init(seed: UInt64, isSymmetric: Bool = false) {
      var random = Seeded(seed)
      codes = random.codes(6 * 64, bits: 4).map { Int8($0) - 8 }
      zeros = random.codes(12, bits: 4).map { isSymmetric ? 0 : Int8($0) - 8 }
      scales = Numbers.rounded(random.weights(12), to: .bf16)
    }

    var tensors: [Toy] {
      [
        Toy("a._weight_qdata", .i8, [6, 64], bytes: codes.map(UInt8.init(bitPattern:))),
        Toy("a._weight_scale", .bf16, [6, 2], scales),
        Toy("a._weight_zero_point", .i8, [6, 2], bytes: zeros.map(UInt8.init(bitPattern:))),
      ]
    }

    var description: String {
      #"{"_type":"\#(type)","_data":{"target_dtype":{"_type":"torch.dtype","_data":"int4"},"#
        + #""block_size":\#(block),"dtype":{"_type":"torch.dtype","_data":"bfloat16"}},"#
        + #""_tensor_data_names":[\#(parts)]}"#
    }

    var metadata: [(String, String)] {
      let entries = [("a.weight", description), ("tensor_names", #"["a.weight"]"#)]
      return entries.map { ($0.0, Self.escaped($0.1)) } + [("format", "pt")]
    }

    private static func escaped(_ text: String) -> String {
      text.map { $0 == "\"" ? #"\""# : String($0) }.joined()
    }

    var values: [Float] {
      codes.indices.map { Float(Int(codes[$0]) - Int(zeros[$0 / 32])) * scales[$0 / 32] }
    }
  }

  private func open(_ subject: Subject, _ tensors: [Toy]? = nil) throws -> String {
    try scratch.checkpoint(
      tensors ?? subject.tensors, config: Self.config, as: "model", metadata: subject.metadata)
  }

  @Test("weights are read as their numbers (seed 350)", arguments: [false, true])
  func reading(isSymmetric: Bool) throws {
    let subject = Subject(seed: 350, isSymmetric: isSymmetric)
    let model = try Model.open(try open(subject))
    try model.requireNumbers()
    #expect(model.catalog.tensors.map(\.name) == ["a.weight"])
    let offset = isSymmetric ? Grouping.Offset.none : .zeroPoint
    #expect(
      model.catalog.tensors[0].encoding
        == .grouped(Grouping(bits: 4, groupSize: 32, offset: offset, parameters: .bf16)))
    #expect(try model.floats(of: 0)?.bits == subject.values.bits)
  }

  @Test("the metadata of an output does not describe tensors that it lacks")
  func metadata() throws {
    let model = try Model.open(try open(Subject(seed: 351)))
    let plan = try Plan.converting(
      model, to: Destination(path: scratch.path("out"), format: .safetensors))
    try Run(plan)()
    let written = try Model.open(scratch.path("out"))
    #expect(written.catalog.metadata.entries.map(\.key) == ["format"])
    #expect(try written.floats(of: 0) == Numbers.rounded(Subject(seed: 351).values, to: .bf16))
  }

  @Test("weights that are more than codes, scales and zero points are refused (seed 352)")
  func refusals() throws {
    var other = Subject(seed: 352)
    other.type = "Int4TilePackedTo4dTensor"
    try expect(
      other, .unsupported, ["expected Int8Tensor, Intx", "found Int4TilePackedTo4dTensor"])
    var scaled = Subject(seed: 352)
    scaled.parts += #","act_pre_scale""#
    try expect(scaled, .unsupported, ["expected qdata, scale, zero_point", "found act_pre_scale"])
    var tall = Subject(seed: 352)
    tall.block = "[2,64]"
    try expect(tall, .malformed, ["a scale for each block of 2×64", "6×2 scales"])
    var stack = Subject(seed: 352)
    stack.block = "[1,1,32]"
    try expect(stack, .unsupported, ["a block_size of rows and columns"])
  }

  @Test("tensors that do not fit are malformed (seed 353)") func misfits() throws {
    let subject = Subject(seed: 353)
    var tensors = subject.tensors
    tensors[1] = Toy("a._weight_scale", .bf16, [6, 4], seed: 1)
    try expect(subject, .malformed, ["a scale for each block of 1×32", "6×4 scales"], tensors)
    tensors = subject.tensors
    tensors[2] = Toy("a._weight_zero_point", .i8, [6, 1], bytes: [0, 0, 0, 0, 0, 0])
    try expect(subject, .malformed, ["as many as scales", "6×1 zero points"], tensors)
    tensors.removeLast()
    try expect(subject, .malformed, ["is missing", "a._weight_zero_point"], tensors)
    tensors = subject.tensors
    tensors[2] = Toy("a._weight_zero_point", .bf16, [6, 2], seed: 2)
    try expect(subject, .unsupported, ["expected I8", "found BF16"], tensors)
  }

  @Test("a weight without a description is refused (seed 354)") func undescribed() throws {
    let subject = Subject(seed: 354)
    let path = try scratch.checkpoint(subject.tensors, config: Self.config, as: "model")
    let error = try #require(
      Laws.error { () throws(ModelError) in try Model.open(path).requireNumbers() })
    #expect(error.kind == .unsupported && error.tensor == "a._weight_qdata")
    #expect("\(error)".contains("expected an entry a.weight"), "\(error)")
  }

  @Test("a code beyond its width is malformed when it is read (seed 355)") func wideCode() throws {
    var subject = Subject(seed: 355)
    subject.codes[100] = 8
    let model = try Model.open(try open(subject))
    let error = try #require(
      Laws.error { () throws(ModelError) in _ = try model.floats(of: 0) })
    #expect(error.kind == .malformed && error.tensor == "a._weight_qdata")
    #expect("\(error)".contains("expected -8 to 7, found 8 at index 100"), "\(error)")
  }

  private func expect(
    _ subject: Subject, _ kind: ModelError.Kind, _ fragments: [String], _ tensors: [Toy]? = nil
  ) throws {
    let path = try open(subject, tensors)
    let error = try #require(
      Laws.error { () throws(ModelError) in try Model.open(path).requireNumbers() })
    #expect(error.kind == kind && error.tensor?.hasPrefix("a") == true, "\(error)")
    for fragment in fragments { #expect("\(error)".contains(fragment), "\(error)") }
  }
}
