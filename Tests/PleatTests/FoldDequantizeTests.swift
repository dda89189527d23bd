import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Folds that write a quantized model as plain numbers.
@Suite struct FoldDequantizeTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let changed = "model.layers.0.mlp.up_proj"
  private static let other = "model.layers.0.mlp.down_proj.weight"
  private static let factors = ToyFactors(changed, 64, 128, seed: 1501)

  /// The formats that store groups under the names of a checkpoint.
  static let formats = Formats.all.filter { !$0.bits.isEmpty && !$0.usesGGUFNames }

  private func base(_ format: Format) throws -> Model {
    let source = try folder.checkpoint(
      [
        Toy("\(Self.changed).weight", .bf16, [64, 128], seed: 1502),
        Toy(Self.other, .bf16, [128, 64], seed: 1503),
        Toy("model.norm.weight", .bf16, [128], seed: 1504),
      ], config: #"{"model_type":"llama"}"#)
    return try folder.quantize(
      source, try .with(bits: 4, group: .columns(32)), to: "base.\(format.name)")
  }

  private func options() -> FoldOptions {
    var options = FoldOptions()
    options.dequantizes = true
    return options
  }

  @Test("there are six such formats") func presence() {
    #expect(Self.formats.count == 6)
  }

  @Test(
    "every weight becomes what the codes mean, plus the adapter, rounded once (seed 1501)",
    arguments: formats)
  func sum(format: Format) throws {
    let base = try base(format)
    let before = try base.floats(in: folder.scratch)
    let plain = format.forPlainNumbers
    let adapter = try folder.applied([Self.factors])
    let result = try folder.fold([adapter], into: base, to: "out.\(plain.name)", options())
    #expect(result.model.catalog.tensors.allSatisfy { !$0.isGrouped })
    let after = try result.model.floats(in: folder.scratch)
    for name in ["\(Self.changed).weight", Self.other] {
      guard case .grouped(let grouping)? = base.info(name)?.encoding else {
        Issue.record("\(name) is not quantized")
        continue
      }
      let type = grouping.parameters
      #expect(result.model.info(name)?.encoding == .plain(type))
      let (old, new) = (try #require(before[name]), try #require(after[name]))
      try #require(old.count == new.count)
      for index in old.indices {
        let element =
          name == Self.other ? (value: 0, size: 0) : Self.factors.element(index / 128, index % 128)
        let wanted = Double(old[index]) + 3 * element.value
        let limit =
          type.halfStep(at: wanted) + 3 * element.size * 6 * 0x1p-24 + wanted.magnitude * 0x1p-23
        #expect((Double(new[index]) - wanted).magnitude <= limit, "\(name) \(index)")
      }
    }
    #expect(result.report.tensors.map(\.name) == ["\(Self.changed).weight"])
    #expect(!result.plan.isLossy)
    #expect(result.plan.notes.contains { $0.hasPrefix("2 weights become ") })
  }

  @Test("DoRA and whole weights fold, too", arguments: formats)
  func others(format: Format) throws {
    let base = try base(format)
    let magnitude = Toy("\(Self.changed).lora_magnitude_vector", .f32, [64], seed: 1505)
    let dora = try folder.applied([Self.factors], [magnitude], #""use_dora":true"#, as: "dora")
    let whole = try folder.applied(
      [], [Toy(Self.other, .bf16, [128, 64], seed: 1506)],
      #""modules_to_save":["down_proj"]"#, as: "whole")
    for adapter in [dora, whole] {
      let refused = try folder.error([adapter], into: base, to: "x.\(format.name)")
      #expect(refused.error?.found?.contains("--dequantize") == true)
    }
    let name = format.forPlainNumbers.name
    let result = try folder.fold([whole], into: base, to: "whole.\(name)", options())
    let bytes = try result.model.part(.values, of: Self.other)
    let saved = Toy(Self.other, .bf16, [128, 64], seed: 1506).bytes
    guard case .plain(let type)? = result.model.info(Self.other)?.encoding else { return }
    #expect(bytes == Numbers.bytes(Numbers.floats(saved, .bf16), type))
    #expect(
      try folder.fold([dora], into: base, to: "dora.\(name)", options()).report.total.adapterError
        < 0.02)
  }

  @Test("the option is refused where it contradicts others, or has no effect")
  func refusals() throws {
    let base = try base(.gptq)
    let adapter = try folder.applied([Self.factors])
    var both = options()
    both.requantizes = true
    let cases: [(FoldOptions, Model, String, String)] = [
      (both, base, "a.safetensors", "exclude each other"),
      (options(), base, "a.gptq", "plain numbers"),
      (options(), base, "a.awq", "plain numbers"),
      (options(), try Model.open(folder.scratch.path("source")), "a.pleat", "no effect"),
    ]
    for (options, base, name, words) in cases {
      let found = try folder.error([adapter], into: base, to: name, options)
      #expect(found.error?.kind == .usage && found.error?.what.contains(words) == true)
      #expect(found.isClean)
    }
  }
}

extension Model {
  fileprivate func info(_ name: String) -> TensorInfo? {
    catalog.tensors.first { $0.name == name }
  }
}
