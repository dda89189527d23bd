import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// compressed-tensors folders as current and older versions of its library write them.
@Suite struct CompressedTensorsTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static func group(
    bits: Int = 4, size: Int? = 32, symmetric: Bool = false, more: String = ""
  ) -> String {
    let strategy = size.map { #""strategy":"group","group_size":\#($0)"# }
    return #"{"targets":["Linear"],"weights":{"num_bits":\#(bits),"type":"int","symmetric":"#
      + #"\#(symmetric),\#(strategy ?? #""strategy":"channel""#)}\#(more)}"#
  }

  private static func config(_ groups: [String], more: String = "") -> String {
    let members = groups.enumerated().map { "\"group_\($0)\":\($1)" }
    return #"{"quantization_config":{"quant_method":"compressed-tensors","#
      + #""format":"pack-quantized","config_groups":{\#(members.joined(separator: ","))}\#(more)}}"#
  }

  private func open(_ tensors: [Toy], _ config: String) throws(ModelError) -> Model {
    do {
      return try Model.open(try scratch.checkpoint(tensors, config: config, as: "model"))
    } catch let error as ModelError {
      throw error
    } catch {
      preconditionFailure("\(error)")
    }
  }

  private func expect(_ weight: ToyWords, in model: Model) throws {
    let index = try #require(
      model.catalog.tensors.firstIndex { $0.name == "\(weight.path).weight" })
    let info = model.catalog.tensors[index]
    #expect(info.shape.dimensions == [weight.rows, weight.columns])
    #expect(info.encoding == .grouped(weight.grouping))
    #expect(try model.floats(of: index)?.bits == weight.values.bits)
  }

  @Test(
    "all bits are read in both packings, with and without zero points (seed 80)",
    arguments: Every.pair(of: [2, 3, 4, 5, 6, 8], [false, true]))
  func packings(bits: Int, isOld: Bool) throws {
    for hasZeros in [false, true] {
      for type in Grouping.supportedParameters {
        let weights = [(1, 32), (5, 96), (33, 64), (70, 128)].enumerated().map { index, shape in
          ToyWords(
            "l\(index)", shape.0, shape.1, bits: bits, type: type, hasZeros: hasZeros,
            seed: 80 + UInt64(index))
        }
        let config = Self.config([Self.group(bits: bits, symmetric: !hasZeros)])
        let model = try open(weights.flatMap { $0.compressed(isOld: isOld) }, config)
        #expect(model.format == .compressedTensors)
        #expect(model.catalog.tensors.count == weights.count)
        for weight in weights { try expect(weight, in: model) }
      }
    }
  }

  @Test("a row may be one group, and schemes may differ by layer (seed 81)") func schemes() throws {
    let weights = [
      ToyWords("a", 4, 96, groupSize: 96, hasZeros: false, seed: 81),
      ToyWords("b", 4, 96, bits: 8, groupSize: 32, seed: 82),
      ToyWords("c", 4, 128, bits: 3, groupSize: 64, hasZeros: false, seed: 83),
    ]
    let config = Self.config([
      Self.group(size: nil, symmetric: true), Self.group(bits: 8),
      Self.group(bits: 3, size: 64, symmetric: true),
    ])
    let plain = Toy("d.weight", .bf16, [2, 64], seed: 84)
    let model = try open(weights.flatMap { $0.compressed() } + [plain], config)
    for weight in weights { try expect(weight, in: model) }
    #expect(model.catalog.tensors.last?.encoding == .plain(.bf16))
  }

  @Test("of any number of schemes, the first one that fits the tensors is used")
  func manySchemes() throws {
    let weights = (0..<100).map {
      ToyWords("l\($0)", 1, 64, groupSize: $0 % 2 == 0 ? 64 : 32, seed: 140 + UInt64($0))
    }
    let others = (0..<20_000).map { Self.group(size: 1000 + $0) }
    // For a row of 64 columns the second is equal to the first.
    let config = Self.config(others + [Self.group(size: 64), Self.group(size: nil), Self.group()])
    let model = try open(weights.flatMap { $0.compressed() }, config)
    for weight in weights { try expect(weight, in: model) }
  }

  private func error(_ tensors: [Toy], _ config: String) throws -> ModelError {
    let error = Laws.error { () throws(ModelError) in
      try open(tensors, config).requireNumbers()
    }
    return try #require(error, "\(config) was opened")
  }

  private static let weight = ToyWords("a", 8, 64, seed: 85)

  @Test(
    "other kinds of quantization are unsupported, and the error names them",
    arguments: [
      (group(more: #","format":"marlin-24""#), "", "marlin-24"),
      (group(), #","transform_config":{"config_groups":{"a":1}}"#, "transform_config"),
      (group(), #","sparsity_config":{"format":"sparse-24-bitmask"}"#, "sparsity_config"),
      (group(bits: 7), "", "7 bits"), (group(bits: 1), "", "1 bits"),
      (#"{"weights":{"num_bits":4,"type":"float","group_size":32}}"#, "", "float"),
      (#"{"weights":{"num_bits":4,"strategy":"block","group_size":32}}"#, "", "block"),
      (#"{"weights":{"num_bits":4}}"#, "", "tensor"), (#"["Linear"]"#, "", "group_0"),
    ])
  func unsupported(group: String, more: String, name: String) throws {
    let error = try error(Self.weight.compressed(), Self.config([group], more: more))
    #expect(error.kind == .unsupported, "\(error)")
    #expect(error.description.contains(name), "\(error)")
  }

  @Test(
    "what runtimes round besides weights is in a note",
    arguments: [
      (group(more: #","input_activations":{"num_bits":8}"#), "", "round activations;"),
      (group(), #","kv_cache_scheme":{"num_bits":8}"#, "round the KV cache;"),
      (
        group(more: #","output_activations":{"num_bits":8}"#),
        #","kv_cache_scheme":{"num_bits":8}"#, "round activations and the KV cache;"
      ),
    ])
  func activations(group: String, more: String, words: String) throws {
    let model = try open(Self.weight.compressed(), Self.config([group], more: more))
    try expect(Self.weight, in: model)
    #expect(model.notes.count == 1)
    #expect(model.notes.first?.contains(words) == true)
  }

  @Test(
    "packed codes in a model that states formats of codes with scales are malformed",
    arguments: ["int-quantized", "float-quantized", "nvfp4-pack-quantized"])
  func otherFormats(name: String) throws {
    let group = Self.group(more: #","format":"\#(name)""#)
    let mixed =
      #"{"quantization_config":{"quant_method":"compressed-tensors","#
      + #""format":"mixed-precision","config_groups":{"g":\#(group)}}}"#
    let error = try error(Self.weight.compressed(), mixed)
    #expect(error.kind == .malformed)
    #expect(error.tensor == "a.weight_packed")
  }

  @Test(
    "formats that Pleat does not read are unsupported, and the error names them",
    arguments: ["marlin-24", "dense", "sparse-bitmask"])
  func formats(name: String) throws {
    let config =
      #"{"quantization_config":{"quant_method":"compressed-tensors","format":"\#(name)","#
      + #""config_groups":{"g":\#(Self.group())}}}"#
    let error = try error(Self.weight.compressed(), config)
    #expect(error.kind == .unsupported)
    #expect(error.found == "\(name) in g")
  }

  @Test(
    "a config that is invalid or does not match the tensors is malformed",
    arguments: [
      #"{"weights":{"num_bits":4,"strategy":"group"}}"#, #"{"weights":{"group_size":32}}"#,
      group(bits: 9), group(bits: 0), group(bits: 5), group(bits: 8), group(size: 64),
      group(size: nil), group(size: 0), group(symmetric: true),
    ])
  func malformed(group: String) throws {
    let error = try error(Self.weight.compressed(), Self.config([group]))
    #expect(error.kind == .malformed, "\(error)")
  }

  @Test("a config without a scheme is malformed") func schemeless() throws {
    let error = try error(Self.weight.compressed(), Self.config([]))
    #expect(error.kind == .malformed)
    #expect(error.expected == "config_groups")
  }

  @Test(
    "a weight without one of its tensors is malformed, and the error names it",
    arguments: ["weight_packed", "weight_scale", "weight_shape"])
  func missing(name: String) throws {
    let tensors = Self.weight.compressed().filter { $0.name != "a.\(name)" }
    let error = try error(tensors, Self.config([Self.group()]))
    #expect(error.kind == .malformed)
    #expect(error.expected?.contains("a.\(name)") == true)
    #expect(error.found?.contains("a.\(name)") == false)
  }

  @Test(
    "a weight_shape that does not match the tensors is malformed",
    arguments: [
      [8, 63], [8, 65], [8, 72], [7, 64], [9, 64], [0, 64], [8, 0], [8, -64], [-8, 64],
    ])
  func extents(extents: [Int]) throws {
    var tensors = Self.weight.compressed()
    tensors[3].bytes = extents.flatMap { Numbers.little(UInt64(bitPattern: Int64($0))) }
    #expect(try error(tensors, Self.config([Self.group()])).kind == .malformed)
    tensors[3].bytes = [.max, .max].flatMap { Numbers.little($0 as UInt64 >> 1) }
    #expect(try error(tensors, Self.config([Self.group()])).kind == .malformed)
  }

  @Test("tensors with other types and shapes are malformed") func shapes() throws {
    let good = Self.weight.compressed()
    for (index, type) in [(0, ScalarType.u32), (1, .i16), (2, .u32), (3, .u64)] {
      var tensors = good
      tensors[index].type = type
      #expect(try error(tensors, Self.config([Self.group()])).kind == .malformed)
    }
    for (index, shape) in [(0, [4, 16]), (0, [64]), (1, [2, 8]), (2, [2, 1])] {
      var tensors = good
      tensors[index].shape = shape
      #expect(try error(tensors, Self.config([Self.group()])).kind == .malformed, "\(shape)")
    }
  }

  @Test("weight_shape must hold two extents, in any shape") func extentCounts() throws {
    let config = Self.config([Self.group()])
    var tensors = Self.weight.compressed()
    for extents in [[], [8], [8, 64, 1]] as [[Int]] {
      tensors[3].shape = [extents.count]
      tensors[3].bytes = extents.flatMap { Numbers.little(UInt64($0)) }
      let error = try error(tensors, config)
      #expect(error.kind == .malformed, "\(extents)")
      #expect(error.tensor == "a.weight_packed")
      #expect(error.what.contains("extents"), "\(error)")
    }
    tensors = Self.weight.compressed()
    for shape in [[1, 2], [2, 1]] {
      tensors[3].shape = shape
      try expect(Self.weight, in: try open(tensors, config))
    }
  }

  @Test("a group index in order is ignored, a scattered one is used, others are malformed")
  func groupIndex() throws {
    let weight = ToyWords("a", 8, 64, seed: 86)
    func tensors(_ numbers: [Int32]) -> [Toy] {
      weight.compressed() + [
        Toy(
          "a.weight_g_idx", .i32, [numbers.count],
          bytes: numbers.flatMap { Numbers.little(UInt32(bitPattern: $0)) })
      ]
    }
    let config = Self.config([Self.group()])
    for numbers in [(0..<64).map { Int32($0 / 32) }, [Int32](repeating: -1, count: 64)] {
      let model = try open(tensors(numbers), config)
      #expect(model.catalog.tensors.count == 1)
      try expect(weight, in: model)
    }
    let model = try open(tensors((0..<64).map { Int32($0 % 2) }), config)
    let values = (0..<8 * 64).map { index in
      let group = index / 64 * 2 + index % 2
      return weight.scales[group] * (Float(weight.codes[index]) - Float(weight.zeros[group]))
    }
    #expect(try model.floats(of: 0)?.bits == values.bits)
    for wrong in [Int32(2), -2] {
      let numbers = (0..<64).map { $0 == 5 ? wrong : Int32($0 % 2) }
      #expect(try error(tensors(numbers), config).kind == .malformed)
    }
    #expect(try error(tensors([0, 1]), config).kind == .malformed)
  }

  @Test(
    "a file truncated at any byte is malformed, and a changed byte gives an error or the same catalog"
  )
  func damage() throws {
    let config = Self.config([Self.group(bits: 3)])
    let weight = ToyWords("a", 33, 32, bits: 3, seed: 87)
    let tensors = weight.compressed()
    let file = ToyFiles.safetensors(tensors)
    let path = scratch.path("m")
    try scratch.write(config, as: "m/config.json")
    try scratch.write(file, as: "m/model.safetensors")
    let whole = try Model.open(path).catalog
    for count in 0..<file.count {
      try scratch.write(Array(file[..<count]), as: "m/model.safetensors")
      let error = Laws.error { () throws(ModelError) in try Model.open(path) }
      #expect(error?.kind == .malformed, "\(count) bytes")
    }
    var random = Seeded(88)
    var readableCount = 0
    for offset in file.indices {
      var changed = file
      changed[offset] ^= UInt8(1 << (random.codes(1, bits: 3)[0]))
      try scratch.write(changed, as: "m/model.safetensors")
      do throws(ModelError) {
        let model = try Model.open(path)
        let isSame = Laws.areEqual(model.catalog, whole)
        #expect(isSame, "byte \(offset)")
        for index in model.catalog.tensors.indices { _ = try model.floats(of: index) }
        readableCount += 1
      } catch {
        #expect([.malformed, .unsupported].contains(error.kind), "byte \(offset): \(error)")
      }
    }
    // Changed codes, scales and zero points are still numbers. Changed extents or a changed header
    // do not fit.
    #expect(readableCount == tensors.dropLast().reduce(0) { $0 + $1.bytes.count })
  }
}
