import Adapters
import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// The inspection of adapters.
@Suite struct AttachInspectionTests {
  let folder: Folder
  private var scratch: Scratch { folder.scratch }

  init() throws { folder = try Folder() }

  private func inspect(_ name: String) throws -> Inspection {
    Inspection(try Model.open(scratch.path(name)))
  }

  @Test("inspecting an adapter folder gives its targets, ranks, scales and parts")
  func peft() throws {
    let factors = [
      ToyFactors("model.layers.0.self_attn.q_proj", 6, 16, seed: 941),
      ToyFactors("model.layers.11.self_attn.q_proj", 6, 16, seed: 942),
      ToyFactors("model.layers.0.mlp.up_proj", 6, 16, rank: 4, seed: 943),
      ToyFactors("lm_head", 6, 16, seed: 944),
    ]
    try scratch.peft(
      factors.flatMap(\.tensors) + [
        Toy("base_model.model.lm_head.lora_B.bias", .f32, [6], seed: 945),
        Toy("base_model.model.model.norm.weight", .f32, [16], seed: 946),
      ],
      "\"rank_pattern\":{\"up_proj\":4},\"lora_bias\":true,\"alpha_pattern\":{\"lm_head\":0.5}",
      as: "lora")
    let found = try inspect("lora")
    #expect(found.adapterFault == nil)
    let summary = try #require(found.adapters.first)
    #expect(found.adapters.count == 1)
    #expect(summary.name == "lora" && summary.kind == .peft && summary.method == "LoRA")
    #expect(summary.ranks == [2, 4])
    #expect(summary.scales == [0.25, 1.5, 3])
    #expect(
      summary.targets == [
        "lm_head", "lm_head.bias", "mlp.up_proj", "model.norm", "self_attn.q_proj",
      ])
    #expect(summary.productCount == 4 && summary.vectorCount == 1)
    #expect(summary.replacementCount == 1)
    #expect(!summary.hasMagnitudes && summary.pooling == nil && summary.groupSize == nil)
    let json = found.json(tensors: nil, statistics: [:], showsMetadata: false)
    #expect(json["adapters"]?.array?.count == 1)
    #expect(json["adapterFault"] == nil)
  }

  @Test("the method follows from config and tensors, not from shapes alone") func methods() throws {
    let factors = ToyFactors("a", 6, 16, seed: 947)
    try scratch.peft(
      factors.tensors, "\"use_qalora\":true,\"qalora_group_size\":8", as: "qalora")
    try scratch.peft(
      factors.tensors + [Toy("a.lora_magnitude_vector", .f32, [6], seed: 948)],
      "\"use_dora\":true", as: "dora")
    _ = try folder.adapter(.mlx, [factors], as: "mlx")
    _ = try folder.adapter(.gguf, [factors], as: "lora")
    let found = try ["qalora", "dora", "mlx", "lora.gguf"].map { name in
      try #require(try inspect(name).adapters.first, "\(name)")
    }
    #expect(found.map(\.method) == ["QA-LoRA", "DoRA", "LoRA", "LoRA"])
    #expect(found.map(\.kind) == [.peft, .peft, .mlx, .gguf])
    #expect(found.map(\.groupSize) == [8, nil, nil, nil])
    #expect(found.map(\.pooling) == [.peft, nil, nil, nil])
    #expect(found.map(\.hasMagnitudes) == [false, true, false, false])
    #expect(found.allSatisfy { $0.ranks == [2] && $0.scales == [3] })
  }

  @Test("inspecting a model lists its attached adapters; a base model has none")
  func attached() throws {
    let base = try folder.groupedBase()
    #expect(Inspection(base).adapters == [])
    let adapters = [
      AppliedAdapter(
        try folder.adapter(.peft, [ToyFactors("a", 6, 4, seed: 949)], as: "x"), pooling: .mean),
      AppliedAdapter(try folder.adapter(.gguf, [ToyFactors("b", 3, 128, seed: 950)], as: "y")),
    ]
    let first = try folder.attach([adapters[0]], names: ["one"], to: base, at: "1.pleat")
    let both = try folder.attach([adapters[1]], names: ["two"], to: first, at: "2.pleat")
    let found = Inspection(both)
    #expect(found.adapterFault == nil)
    #expect(found.adapters.map(\.name) == ["one", "two"])
    #expect(found.adapters.map(\.kind) == [.peft, .gguf])
    #expect(found.adapters.map(\.method) == ["QA-LoRA", "LoRA"])
    #expect(found.adapters.map(\.pooling) == [.mean, nil])
    #expect(found.adapters.map(\.targets) == [["a"], ["b"]])
  }

  @Test(
    "an adapter that cannot be read can still be inspected",
    arguments: [
      ("{\"peft_type\":\"IA3\"}", "IA3"),
      ("{\"peft_type\":\"LORA\",\"use_rumour\":true}", "rumour"),
      ("{", ""), ("{\"peft_type\":\"LORA\",\"r\":5}", "rank"),
    ])
  func faults(config: String, fragment: String) throws {
    try scratch.peft(ToyFactors("a", 6, 16, seed: 951).tensors, as: "lora")
    try scratch.write(config, as: "lora/adapter_config.json")
    let found = try inspect("lora")
    #expect(found.adapters == [])
    #expect(found.model.catalog.tensors.count == 2)
    let fault = try #require(found.adapterFault)
    #expect("\(fault)".contains(fragment))
    let json = found.json(tensors: nil, statistics: [:], showsMetadata: false)
    #expect(json["adapterFault"]?["kind"]?.string == fault.kind.rawValue)
  }

  @Test("a model with an attached adapter of an unknown kind can be read and copied")
  func unknownKind() throws {
    // A newer version may attach adapters of other kinds. The tensors must be readable anyway.
    let base = try folder.groupedBase()
    let applied = AppliedAdapter(
      try folder.adapter(.mlx, [ToyFactors("b", 3, 128, seed: 952)], as: "one"))
    try folder.attach([applied], names: ["one"], to: base, at: "both.pleat")
    let bytes = try scratch.bytes(of: "both.pleat")
    let (old, new) = (Array("lora_parameters".utf8), Array("lora_parametres".utf8))
    let start = try #require(
      bytes.indices.first { bytes[$0...].starts(with: old) })
    let damaged = try Repairing.file(
      bytes, replacing: start..<start + old.count, with: new, in: scratch)
    let found = Inspection(try Model.open(damaged))
    #expect(found.adapters == [] && found.adapterFault?.kind == .malformed)
    #expect(try found.model.allParts() == base.allParts())
    #expect(try Verification(of: found.model).holds)
    // A copy keeps the adapter.
    let copy = try folder.convert(found.model, to: "copy.pleat")
    #expect(copy.attachedNames == ["one"])
    #expect(Inspection(copy).adapterFault?.kind == .malformed)
  }
}

/// Pleat files with a changed header and valid checksums.
private enum Repairing {
  /// Replaces bytes of the header by as many others and updates the checksums of the preamble.
  static func file(
    _ bytes: [UInt8], replacing range: Range<Int>, with other: [UInt8], in scratch: Scratch
  ) throws -> String {
    var bytes = bytes
    bytes.replaceSubrange(range, with: other)
    let offset = (0..<8).reduce(0) { $0 | Int(bytes[16 + $1]) << (8 * $1) }
    bytes.replaceSubrange(12..<16, with: Numbers.little(checksum(bytes[offset...])))
    bytes.replaceSubrange(60..<64, with: Numbers.little(checksum(bytes[..<60])))
    return try scratch.write(bytes, as: "repaired.pleat")
  }

  /// The CRC-32C, computed bit by bit.
  private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    ~bytes.reduce(UInt32.max) { value, byte in
      (0..<8).reduce(value ^ UInt32(byte)) { value, _ in
        (value >> 1) ^ (value & 1 == 1 ? 0x82F6_3B78 : 0)
      }
    }
  }
}
