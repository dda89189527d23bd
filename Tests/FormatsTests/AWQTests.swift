import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// AWQ folders as AutoAWQ writes them.
@Suite struct AWQTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static func config(_ members: String) -> String {
    #"{"quantization_config":{"quant_method":"awq",\#(members)}}"#
  }

  private static let usual = config(
    #""bits":4,"group_size":32,"zero_point":true,"version":"gemm""#)

  private func open(_ tensors: [Toy], _ config: String = usual) throws -> Model {
    try Model.open(try scratch.checkpoint(tensors, config: config, as: "model"))
  }

  private func error(_ tensors: [Toy], _ config: String = usual) throws -> ModelError {
    let path = try scratch.checkpoint(tensors, config: config, as: "model")
    let error = Laws.error { () throws(ModelError) in try Model.open(path).requireNumbers() }
    return try #require(error, "\(config) was opened")
  }

  private func expect(_ weight: ToyWords, in model: Model) throws {
    let index = try #require(
      model.catalog.tensors.firstIndex { $0.name == "\(weight.path).weight" })
    let info = model.catalog.tensors[index]
    #expect(info.shape.dimensions == [weight.rows, weight.columns])
    #expect(info.encoding == .grouped(weight.grouping))
    #expect(try model.floats(of: index)?.bits == weight.values.bits)
  }

  @Test("words of eight rows in AWQ order are read, with every type of scales (seed 90)")
  func reading() throws {
    for type in Grouping.supportedParameters {
      let weights = [
        ToyWords("a", 8, 32, type: type, seed: 90), ToyWords("a.b", 40, 96, type: type, seed: 91),
        ToyWords("c", 72, 2048, type: type, seed: 92),
      ]
      let others = [
        Toy("scales", .f16, [3], seed: 93), Toy("d.scales", .f16, [3], seed: 94),
        Toy("a.bias", .f16, [8], seed: 95),
      ]
      let model = try open((weights.flatMap(\.awq) + others).reversed())
      #expect(model.format == .awq)
      for weight in weights { try expect(weight, in: model) }
      #expect(
        Set(model.catalog.tensors.map(\.name))
          == ["a.weight", "a.b.weight", "c.weight", "scales", "d.scales", "a.bias"])
    }
  }

  @Test("a row may be one group, and config keys may have their older names (seed 96)")
  func rows() throws {
    let weights = [
      ToyWords("a", 8, 96, groupSize: 96, seed: 96), ToyWords("b", 8, 40, groupSize: 40, seed: 97),
    ]
    let config = Self.config(#""w_bit":4,"q_group_size":-1,"version":"GEMM""#)
    let model = try open(weights.flatMap(\.awq), config)
    for weight in weights { try expect(weight, in: model) }
  }

  private static let weight = ToyWords("a", 8, 64, seed: 98)

  @Test(
    "other layouts are unsupported, and the error names them",
    arguments: [
      (#""bits":4,"group_size":32,"version":"gemv""#, "gemv"),
      (#""bits":4,"group_size":32,"version":"gemv_fast""#, "gemv_fast"),
      (#""bits":4,"group_size":32,"version":"marlin""#, "marlin"),
      (#""bits":4,"group_size":32,"format":"llm-awq""#, "llm-awq"),
      (#""bits":8,"group_size":32"#, "8 bits"),
      (#""bits":4,"group_size":32,"zero_point":false"#, "zero points"),
    ])
  func unsupported(members: String, name: String) throws {
    let error = try error(Self.weight.awq, Self.config(members))
    #expect(error.kind == .unsupported, "\(error)")
    #expect(error.description.contains(name), "\(error)")
  }

  @Test(
    "a config that is invalid or does not match the tensors is malformed",
    arguments: [
      #""bits":4"#, #""group_size":32"#, #""bits":4,"group_size":0"#, #""bits":4,"group_size":-2"#,
      #""bits":4,"group_size":64"#, #""bits":4,"group_size":-1"#, #""bits":4,"group_size":16"#,
    ])
  func malformed(members: String) throws {
    #expect(try error(Self.weight.awq, Self.config(members)).kind == .malformed)
  }

  @Test(
    "a weight without one of its tensors is malformed, and the error names it",
    arguments: ["qweight", "qzeros", "scales"])
  func missing(name: String) throws {
    let error = try error(Self.weight.awq.filter { $0.name != "a.\(name)" })
    #expect(error.kind == .malformed)
    #expect(error.expected?.contains("a.\(name)") == true)
    #expect(error.found?.contains("a.\(name)") == false)
  }

  @Test("tensors of other types are another packing") func types() throws {
    for (index, type) in [(0, ScalarType.u32), (1, .u32), (2, .i16)] {
      var tensors = Self.weight.awq
      tensors[index].type = type
      let error = try error(tensors)
      #expect(error.kind == .unsupported && error.hint?.contains("16-bit") == true)
    }
  }

  @Test("tensors of other shapes are malformed") func shapes() throws {
    for (index, shape) in [
      (0, [1, 64]), (0, [32, 2]), (0, [64]), (1, [1, 2]), (1, [2]), (2, [8, 2]), (2, [4, 4]),
      (2, [16]), (2, [2, 2, 4]),
    ] {
      var tensors = Self.weight.awq
      tensors[index].shape = shape
      #expect(try error(tensors).kind == .malformed, "\(shape)")
    }
  }

  @Test("extents whose product overflows give an error, not a trap") func overflow() throws {
    let huge = (1 << 57) - 1
    for shape in [[0, huge], [huge, 0]] {
      let tensors = ["qweight", "qzeros", "scales"].map {
        Toy("a.\($0)", $0 == "scales" ? .f16 : .i32, shape, bytes: [])
      }
      #expect(try error(tensors).kind == .malformed)
    }
  }

  @Test(
    "a file truncated at any byte is malformed, and a changed byte gives an error or the same catalog"
  )
  func damage() throws {
    let tensors = ToyWords("a", 16, 32, seed: 99).awq
    let file = ToyFiles.safetensors(tensors)
    let path = scratch.path("m")
    try scratch.write(Self.usual, as: "m/config.json")
    try scratch.write(file, as: "m/model.safetensors")
    let whole = try Model.open(path).catalog
    for count in 0..<file.count {
      try scratch.write(Array(file[..<count]), as: "m/model.safetensors")
      let error = Laws.error { () throws(ModelError) in try Model.open(path) }
      #expect(error?.kind == .malformed, "\(count) bytes")
    }
    var readableCount = 0
    for offset in file.indices {
      var changed = file
      changed[offset] ^= 4
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
    // Changed codes, scales and zero points are still numbers. A changed header does not fit.
    #expect(readableCount == tensors.reduce(0) { $0 + $1.bytes.count })
  }
}
