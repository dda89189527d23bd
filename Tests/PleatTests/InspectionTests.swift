import Pleat
import TestSupport
import Testing

@Suite struct InspectionTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  @Test("encodings are listed with their totals, most weights first") func encodings() throws {
    let model = try Models.make(
      [
        Toy("a", .f16, [4, 8], seed: 1), Toy("b", .f32, [100], seed: 2),
        Toy("c", .f16, [60], seed: 3), Toy("d", .u8, [0], bytes: []),
      ], in: scratch)
    let found = Inspection(model).encodings.map {
      "\($0.encoding) \($0.tensorCount) \($0.elementCount) \($0.byteCount)"
    }
    #expect(found == ["F32 1 100 400", "F16 2 92 184", "U8 1 0 0"])
    #expect(areClose(Inspection(model).bitsPerWeight, 584.0 * 8 / 192))
  }

  @Test("a model without weights has no bits per weight") func nothing() throws {
    #expect(Inspection(try Models.make([], in: scratch)).bitsPerWeight == 0)
  }

  @Test("the architecture comes from the metadata, else from config.json")
  func architecture() throws {
    let tinylm = try Models.tinylm()
    #expect(Inspection(tinylm).architecture == "llama")
    let gguf = try Model.open(Fixtures.path("golden/gguf/metadata.gguf"))
    #expect(Inspection(gguf).architecture == "llama")
    #expect(Inspection(try Models.make([], in: scratch)).architecture == nil)
    for config in ["", "[]", "{}", "{\"model_type\":4}", "nonsense"] {
      let scratch = try Scratch()
      try scratch.write(ToyFiles.safetensors([]), as: "m/model.safetensors")
      try scratch.write(config, as: "m/config.json")
      #expect(Inspection(try Model.open(scratch.path("m"))).architecture == nil, "\(config)")
    }
  }

  @Test("the JSON report matches the catalog") func report() throws {
    let model = try Models.tinylm()
    let json = Inspection(model).json(tensors: [0, 3], statistics: [:], showsMetadata: true)
    #expect(json["schema"] == "pleat.inspect.1")
    #expect(json["format"] == "safetensors")
    #expect(json["weightCount"]?.int == model.catalog.elementCount)
    #expect(json["byteCount"]?.int == model.byteCount)
    #expect(
      json["tensors"]?.array?.map { $0["name"]?.string }
        == [0, 3].map { model.catalog.tensors[$0].name })
    #expect(
      json["companions"]?.array?.compactMap { $0["name"]?.string } == [
        "config.json", "generation_config.json", "special_tokens_map.json", "tokenizer.json",
        "tokenizer_config.json",
      ])
  }

  @Test("a pleat file states its sources and its history") func provenance() throws {
    let model = try Models.make([Toy("a.weight", .f16, [4, 64], seed: 1)], in: scratch)
    let first = scratch.path("1.pleat")
    try Run(
      try Plan.quantizing(
        model, try .with(bits: 3), to: Destination(path: first, format: .pleat)))()
    let second = scratch.path("2.pleat")
    try Run(
      try Plan.converting(
        try Model.open(first), to: Destination(path: second, format: .pleat)))()
    for (path, actions) in [(first, ["quantize"]), (second, ["quantize", "convert"])] {
      let json = Inspection(try Model.open(path)).json(
        tensors: nil, statistics: [:], showsMetadata: false)
      let sources = json["sources"]?.array ?? []
      #expect(sources.map { $0["name"]?.string } == ["model.safetensors"])
      #expect(sources.map { $0["byteCount"]?.int } == [model.byteCount])
      #expect(json["history"]?.array?.map { $0["action"]?.string } == actions)
      #expect(json["history"]?.array?[0]["recipe"]?["bits"] == 3)
    }
  }

  @Test("the stated checksum of a source is that of its file", arguments: [1, 3])
  func sourceChecksum(workerCount: Int) throws {
    let model = try Models.tinylm()
    let path = scratch.path("out.pleat")
    let plan = try Plan.quantizing(
      model, try .with(rules: ["*.up_proj=keep"]), to: Destination(path: path, format: .pleat))
    try Run(plan, workerCount: workerCount)()
    let json = Inspection(try Model.open(path)).json(
      tensors: nil, statistics: [:], showsMetadata: false)
    let expected = try plainChecksum(try Fixtures.bytes("tinylm/model.safetensors"))
    #expect(json["sources"]?.array?[0]["crc32c"]?.string == expected)
  }

  /// The CRC-32C in hexadecimal, computed byte by byte with a table.
  private func plainChecksum(_ bytes: [UInt8]) throws -> String {
    var table: [UInt32] = []
    for byte in 0..<256 {
      var entry = UInt32(byte)
      for _ in 0..<8 { entry = (entry >> 1) ^ (entry & 1 == 1 ? 0x82F6_3B78 : 0) }
      table.append(entry)
    }
    var value = UInt32.max
    for byte in bytes {
      let index = Int(UInt8(truncatingIfNeeded: value) ^ byte)
      value = table[index] ^ (value >> 8)
    }
    let digits = String(~value, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}
