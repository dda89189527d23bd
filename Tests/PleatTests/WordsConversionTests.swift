import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Conversions from and to AWQ and compressed-tensors.
@Suite struct WordsConversionTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let weights = [
    ToyWords("model.layers.0.down_proj", 40, 64, seed: 700),
    ToyWords("model.layers.1.down_proj", 72, 128, seed: 701),
  ]

  private static let plain = [
    Toy("model.embed_tokens.weight", .f16, [5, 64], seed: 702),
    Toy("model.layers.0.mlp.gate.weight", .f16, [4, 64], seed: 703),
    Toy("model.norm.weight", .f16, [7], seed: 704), Toy("conv.weight", .f16, [2, 3, 4], seed: 705),
  ]

  private func awq() throws -> Model {
    let config =
      #"{"z":1,"quantization_config":{"quant_method":"awq","bits":4,"group_size":32},"a":2}"#
    return try Model.open(
      try folder.scratch.checkpoint(
        Self.weights.flatMap(\.awq) + Self.plain, config: config, as: "base"))
  }

  private func object(_ name: String) throws -> JSONValue {
    try #require(try folder.document(name)["quantization_config"])
  }

  @Test("AWQ goes through compressed-tensors and pleat and back, byte for byte", arguments: [1, 3])
  func roundTrip(workerCount: Int) throws {
    let source = try awq()
    func rewrite(_ model: Model, _ name: String, _ format: Format) throws -> Model {
      let destination = Destination(path: folder.scratch.path(name), format: format)
      try Run(try Plan.converting(model, to: destination), workerCount: workerCount)()
      return try Model.open(destination.path)
    }
    let first = try rewrite(source, "1", .awq)
    let compressed = try rewrite(first, "2", .compressedTensors)
    #expect(compressed.format == .compressedTensors)
    let packed = try rewrite(compressed, "3.pleat", .pleat)
    _ = try rewrite(packed, "4", .awq)
    #expect(try folder.files("4") == folder.files("1"))
    for model in [first, compressed, packed] {
      let floats = try model.floats(in: folder.scratch)
      for weight in Self.weights {
        #expect(floats["\(weight.path).weight"]?.bits == weight.values.bits)
      }
    }
    // The parts of compressed-tensors equal those that the tests pack themselves.
    for toy in Self.weights.flatMap({ $0.compressed() }) {
      let index = try #require(compressed.reader.stored.firstIndex { $0.name == toy.name })
      #expect(compressed.reader.stored[index].shape.dimensions == toy.shape)
      let bytes = try compressed.reader.contents.bytes(of: index, 0..<toy.bytes.count)
      #expect(bytes == toy.bytes, "\(toy.name)")
    }
  }

  @Test("the config lists unquantized matrices and the missing head, but not embeddings")
  func lists() throws {
    let source = try awq()
    _ = try folder.rewrite(source, to: "1", .awq)
    _ = try folder.rewrite(source, to: "2", .compressedTensors)
    let expected: JSONValue = ["model.layers.0.mlp.gate", "lm_head"]
    #expect(try object("1")["modules_to_not_convert"] == expected)
    #expect(try object("2")["ignore"] == expected)
    #expect(try folder.keys("2") == ["z", "a", "quantization_config"])
    #expect(try object("1")["group_size"] == 32)
    let group = try #require(try object("2")["config_groups"]?["group_0"])
    #expect(group["targets"] == ["Linear"])
    #expect(group["weights"]?["symmetric"] == false)
    #expect(group["weights"]?["strategy"] == "group")
  }

  @Test("decoding gives a checkpoint without quantization_config") func decoding() throws {
    let decoded = try folder.rewrite(try awq(), to: "out", .safetensors, decodingTo: .f32)
    #expect(decoded.format == .safetensors)
    #expect(try folder.keys("out") == ["z", "a"])
    #expect(
      try decoded.parts("model.layers.0.down_proj.weight")[.values]
        == Numbers.f32(Self.weights[0].values))
  }

  @Test("codes in the old packing are written in the current one") func oldPacking() throws {
    let weight = ToyWords("a", 33, 64, bits: 3, seed: 706)
    let config =
      #"{"quantization_config":{"quant_method":"compressed-tensors","#
      + #""format":"pack-quantized","config_groups":{"g":{"weights":{"num_bits":3,"#
      + #""symmetric":false,"strategy":"group","group_size":32}}}}}"#
    let source = try Model.open(
      try folder.scratch.checkpoint(weight.compressed(isOld: true), config: config, as: "base"))
    let model = try folder.rewrite(source, to: "out", .compressedTensors)
    for toy in weight.compressed() {
      let index = try #require(model.reader.stored.firstIndex { $0.name == toy.name })
      #expect(
        try model.reader.contents.bytes(of: index, 0..<toy.bytes.count) == toy.bytes,
        "\(toy.name)")
    }
  }

  @Test("without a scheme, awq has zero points and compressed-tensors has none")
  func schemes() throws {
    let source = try folder.checkpoint([Toy("a.weight", .f16, [8, 256], seed: 707)])
    for (format, offset) in [
      (Format.awq, Grouping.Offset.zeroPoint), (.compressedTensors, Grouping.Offset.none),
    ] {
      let destination = Destination(path: folder.scratch.path("out"), format: format)
      let plan = try Plan.quantizing(source, Recipe(), to: destination)
      guard case .grouped(let grouping) = plan.jobs[0].target.encoding else {
        Issue.record("not quantized")
        continue
      }
      #expect(grouping.offset == offset && grouping.groupSize == 128)
    }
  }

  @Test("weights whose rows do not fill whole AWQ words are kept, with a note")
  func misfits() throws {
    let source = try folder.checkpoint([
      Toy("a.weight", .f16, [12, 128], seed: 708), Toy("b.weight", .f16, [8, 128], seed: 709),
    ])
    let destination = Destination(path: folder.scratch.path("out"), format: .awq)
    let plan = try Plan.quantizing(source, Recipe(), to: destination)
    #expect(plan.jobs.map { $0.target.isGrouped } == [false, true])
    #expect(plan.notes.contains { $0.contains("8 rows") })
    try Run(plan)()
    #expect(try object("out")["modules_to_not_convert"] == ["a", "lm_head"])
  }

  @Test("AWQ refuses several group sizes, and a kept name that is part of another")
  func refusals() throws {
    let source = try folder.checkpoint([
      Toy("a.weight", .f16, [8, 128], seed: 710), Toy("a_proj.weight", .f16, [8, 128], seed: 711),
    ])
    let destination = Destination(path: folder.scratch.path("out"), format: .awq)
    func error(_ rules: [String]) throws -> ModelError? {
      var recipe = Recipe()
      recipe.rules = try rules.map { try Rule(text: $0) }
      return Laws.error { () throws(ModelError) in
        try Plan.quantizing(source, recipe, to: destination)
      }
    }
    #expect(try error([]) == nil)
    let sizes = try error(["a=4:32"])
    #expect(sizes?.kind == .unsupported)
    #expect(sizes?.what.contains("one group size") == true)
    let names = try error(["a=keep"])
    #expect(names?.kind == .unsupported)
    #expect(names?.tensor == "a_proj")
    #expect(try error(["a_proj=keep"]) == nil)
  }

  @Test("only a pleat file can store a zero point that is larger than any code")
  func largeZeros() throws {
    let source = try folder.checkpoint([Toy("a.weight", .f16, [8, 128], seed: 712)])
    let packed = try folder.quantize(
      source, try .with(bits: 4, scheme: "zeropoint"), to: "1.pleat")
    let index = try #require(packed.reader.stored.firstIndex { $0.role == .zeros })
    let location = try #require(packed.reader.location(of: index))
    var bytes = try folder.scratch.bytes(of: "1.pleat")
    bytes[location.offset + 5] = 200
    try folder.scratch.write(bytes, as: "2.pleat")
    let damaged = try Model.open(folder.scratch.path("2.pleat"))
    for format in [Format.awq, .compressedTensors] {
      let error = Laws.error { () throws(ModelError) in
        try folder.rewrite(damaged, to: "out", format)
      }
      #expect(error?.kind == .unsupported)
      #expect(error?.found?.contains("row 1, group 1") == true, "\(String(describing: error))")
    }
    #expect(try folder.scratch.names() == ["1.pleat", "2.pleat", "source"])
  }

  @Test("a fold rounds zero points with --round; symmetric weights get zero points")
  func folding() throws {
    let source = try folder.checkpoint([Toy("a.weight", .f16, [16, 128], seed: 713)])
    let applied = try folder.applied([ToyFactors("a", 16, 4, seed: 714)], pooling: .sum)
    for (format, scheme) in [
      (Format.awq, "zeropoint"), (.compressedTensors, "zeropoint"),
      (.compressedTensors, "symmetric"),
    ] {
      let path = folder.scratch.path("base-\(format.name)-\(scheme)")
      let recipe = try Recipe.with(bits: 4, group: .columns(32), scheme: scheme)
      try Run(
        try Plan.quantizing(source, recipe, to: Destination(path: path, format: format)))()
      let base = try Model.open(path)
      let destination = Destination(path: path + "-out", format: format)
      func fold(_ options: FoldOptions) throws(ModelError) -> Model {
        try Run(try Plan.folding([applied], into: base, to: destination, options: options))()
        return try Model.open(destination.path)
      }
      let refusal = Laws.error { () throws(ModelError) in try fold(FoldOptions()) }
      #expect(refusal?.hint?.hasPrefix("--round accepts the loss") == true)
      #expect(refusal?.hint?.contains("--widen") == (format == .compressedTensors))
      #expect(refusal?.hint?.contains("--bias-type") == false)
      let folded = try fold(.with(rounds: true))
      let before = try #require(try base.floats(in: folder.scratch)["a.weight"])
      let after = try #require(try folded.floats(in: folder.scratch)["a.weight"])
      guard case .grouped(let grouping) = folded.catalog.tensors[0].encoding else {
        Issue.record("not quantized")
        continue
      }
      #expect(grouping.offset == .zeroPoint)
      // All weights of a group change by the same number.
      for first in stride(from: 0, to: before.count, by: 32) {
        let moves = (first..<first + 32).map { after[$0] - before[$0] }
        let spread = (moves.max() ?? 0) - (moves.min() ?? 0)
        #expect(spread <= 1e-6)
      }
      #expect(before.bits != after.bits)
    }
  }
}
