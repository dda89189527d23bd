import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// GPTQ folders as GPTQ tools write them.
@Suite struct GPTQReadingTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let groups = Every.pair(of: [2, 3, 4, 8], [32, 64, 128])

  private func open(_ weights: [ToyGPTQ], _ more: [Toy] = [], config: String?) throws -> Model {
    try Model.open(
      try scratch.checkpoint(weights.flatMap(\.tensors) + more, config: config, as: "model"))
  }

  private func expect(
    _ weight: ToyGPTQ, in model: Model, _ offset: Grouping.Offset = .zeroPoint,
    isScattered: Bool = false
  ) throws {
    let index = try #require(
      model.catalog.tensors.firstIndex { $0.name == "\(weight.path).weight" })
    let info = model.catalog.tensors[index]
    #expect(info.shape.dimensions == [weight.outputs, weight.inputs])
    let grouping = Grouping(
      bits: weight.bits, groupSize: weight.groupSize, offset: offset, parameters: weight.type,
      isScattered: isScattered)
    #expect(info.encoding == .grouped(grouping))
    #expect(try model.floats(of: index)?.bits == weight.values.bits)
  }

  @Test("a word holds codes of consecutive inputs, or zero points of consecutive outputs")
  func handWorked() throws {
    // One group: code (i + o) mod 16 for input i and output o, zero points 1 to 8, scale 1.
    var words: [UInt32] = []
    for (row, output) in Every.pair(of: 0..<4, 0..<8) {
      var word: UInt32 = 0
      for code in 0..<8 { word |= UInt32((8 * row + code + output) % 16) << (4 * code) }
      words.append(word)
    }
    let tensors = [
      Toy("a.qweight", .i32, [4, 8], bytes: words.flatMap { Numbers.little($0) }),
      Toy("a.qzeros", .i32, [1, 1], bytes: [0x21, 0x43, 0x65, 0x87]),
      Toy("a.scales", .f16, [1, 8], [Float](repeating: 1, count: 8)),
    ]
    let path = try scratch.checkpoint(tensors, config: ToyGPTQ.config(), as: "m")
    let expected = (0..<8).flatMap { output in
      (0..<32).map { Float(($0 + output) % 16 - output - 1) }
    }
    #expect(try Model.open(path).floats(of: 0) == expected)
    try scratch.write(ToyGPTQ.config(version: "gptq"), as: "m/config.json")
    #expect(try Model.open(path).floats(of: 0) == expected.map { $0 - 1 })
  }

  @Test("3-bit codes cross word boundaries: three words hold 32 codes") func threeBits() throws {
    // The codes 0, 1 … 7 are the bytes 88 c6 fa; both repeat.
    let bytes: [UInt8] = [0x88, 0xc6, 0xfa]
    let stream: [UInt8] = (0..<12).map { bytes[$0 % 3] }
    let words = (0..<3).flatMap { row in
      (0..<32).flatMap { _ in Array(stream[4 * row..<4 * row + 4]) }
    }
    let tensors = [
      Toy("a.qweight", .i32, [3, 32], bytes: words),
      Toy("a.qzeros", .i32, [1, 3], bytes: stream),
      Toy("a.scales", .f16, [1, 32], [Float](repeating: 1, count: 32)),
    ]
    let path = try scratch.checkpoint(tensors, config: ToyGPTQ.config(bits: 3), as: "m")
    let expected = (0..<32).flatMap { output in (0..<32).map { Float($0 % 8 - output % 8) } }
    #expect(try Model.open(path).floats(of: 0) == expected)
  }

  @Test("all bits and group sizes are read in both versions (seed 60)", arguments: groups)
  func groupings(bits: Int, size: Int) throws {
    for type in Grouping.supportedParameters {
      for isFirst in [false, true] {
        let weight = ToyGPTQ(
          "a", 96, 128, bits: bits, groupSize: size, isFirstVersion: isFirst, type: type, seed: 60)
        let config = ToyGPTQ.config(
          bits: bits, groupSize: size, version: isFirst ? "gptq" : "gptq_v2")
        let model = try open([weight], config: config)
        #expect(model.format == (isFirst ? .gptqV1 : .gptq))
        #expect(model.catalog.tensors.count == 1)
        try expect(weight, in: model)
      }
    }
  }

  @Test("a config without a version means the first version (seed 61)")
  func noVersion() throws {
    let weight = ToyGPTQ("a", 8, 64, isFirstVersion: true, seed: 61)
    let model = try open([weight], config: ToyGPTQ.config(version: nil))
    #expect(model.format == .gptqV1)
    try expect(weight, in: model)
  }

  @Test("alternative names of config keys are read (seed 62)")
  func keys() throws {
    let weight = ToyGPTQ("a", 8, 64, seed: 62)
    let config =
      #"{"quantization_config":{"method":"gptq","format":"gptq_v2","bits":4,"group_size":32,"#
      + #""sym":false,"pack_dtype":"int32"}}"#
    let model = try open([weight], config: config)
    #expect(model.format == .gptq)
    try expect(weight, in: model)
  }

  @Test("quantize_config.json is used if config.json has no quantization (seed 63)")
  func otherFile() throws {
    let weight = ToyGPTQ("a", 8, 64, isFirstVersion: true, seed: 63)
    for config in [nil, #"{"model_type":"llama"}"#] {
      let path = try scratch.checkpoint(weight.tensors, config: config, as: "model")
      try scratch.write(
        #"{"bits":4,"group_size":32,"desc_act":false,"sym":false}"#,
        as: "model/quantize_config.json")
      let model = try Model.open(path)
      #expect(model.format == .gptqV1)
      try expect(weight, in: model)
    }
  }

  @Test("a group index is used; without one, groups are in order (seed 64)", arguments: [2, 3])
  func indices(bits: Int) throws {
    var weight = ToyGPTQ("a", 32, 128, bits: bits, seed: 64)
    weight.hasIndex = false
    let config = ToyGPTQ.config(bits: bits)
    try expect(weight, in: try open([weight], config: config))
    weight.hasIndex = true
    weight.scatter(seed: 65)
    try expect(weight, in: try open([weight], config: config), isScattered: true)
  }

  @Test("a weight with a short last group is read as scattered (seed 66)")
  func shortGroups() throws {
    for hasIndex in [true, false] {
      var weight = ToyGPTQ("a", 8, 80, seed: 66)
      weight.hasIndex = hasIndex
      try expect(weight, in: try open([weight], config: ToyGPTQ.config()), isScattered: true)
    }
  }

  @Test("a group size of -1 or more than a row means the whole row (seed 67)")
  func rows() throws {
    let weight = ToyGPTQ("a", 8, 96, groupSize: 96, seed: 67)
    try expect(weight, in: try open([weight], config: ToyGPTQ.config(groupSize: -1)))
    try expect(weight, in: try open([weight], config: ToyGPTQ.config(groupSize: 128)))
  }

  @Test("rules set bits and groups of layers, and other layers may be plain (seed 68)")
  func rules() throws {
    let weights = [
      ToyGPTQ("a.0.up", 32, 128, bits: 4, groupSize: 32, seed: 68),
      ToyGPTQ("a.0.down", 32, 128, bits: 8, groupSize: 64, seed: 69),
      ToyGPTQ("lm_head", 32, 128, bits: 3, groupSize: 32, seed: 70),
    ]
    let rules =
      #","dynamic":{"+:down":{"bits":8,"group_size":64},"lm_head":{"bits":3},"-:q_proj":{}}"#
    let plain = Toy("a.0.q_proj.weight", .f16, [4, 4], seed: 71)
    let bias = Toy("a.0.up.bias", .f16, [32], seed: 72)
    let model = try open(weights, [plain, bias], config: ToyGPTQ.config(rules))
    for weight in weights { try expect(weight, in: model) }
    #expect(model.catalog.tensors.count == 5)
    #expect(model.catalog.tensors.suffix(2).allSatisfy { $0.encoding == .plain(.f16) })
  }

  @Test(
    "central zero points mean symmetric groups and reveal a wrong version (seed 73)",
    arguments: Every.triple(of: [2, 3, 4, 8], [false, true], [false, true]))
  func symmetry(bits: Int, isFirst: Bool, isMislabelled: Bool) throws {
    let weights = ["a", "b"].map {
      ToyGPTQ($0, 96, 128, bits: bits, isFirstVersion: isFirst, isSymmetric: true, seed: 73)
    }
    let version = isFirst != isMislabelled ? "gptq" : "gptq_v2"
    let model = try open(weights, config: ToyGPTQ.config(bits: bits, version: version, sym: true))
    #expect(model.format == (isFirst ? .gptqV1 : .gptq))
    for weight in weights { try expect(weight, in: model, .none) }
    let notes = model.notes
    #expect(notes.count == (isMislabelled ? 1 : 0))
    if isMislabelled {
      #expect(notes[0].contains("config.json says \(version),"))
      #expect(notes[0].contains("those of \(isFirst ? "gptq" : "gptq_v2"),"))
    }
  }

  @Test("a single zero point that is not central overrides sym in the config (seed 74)")
  func almostSymmetric() throws {
    var weight = ToyGPTQ("a", 96, 256, isSymmetric: true, seed: 74)
    weight.zeros[weight.zeros.count - 1] = 9
    let other = ToyGPTQ("b", 8, 64, isSymmetric: true, seed: 75)
    let model = try open([weight, other], config: ToyGPTQ.config(sym: true))
    try expect(weight, in: model)
    try expect(other, in: model, .none)
  }

  @Test(
    "a zero point of 0 in the first version, as gptqmodel stores it (seed 76)",
    arguments: [2, 3, 4, 8])
  func leastZero(bits: Int) throws {
    var weight = ToyGPTQ("a", 32, 64, bits: bits, isFirstVersion: true, seed: 76)
    for index in [0, 3, 4, 5, 40, 63] { weight.zeros[index] = 0 }
    try expect(
      weight, in: try open([weight], config: ToyGPTQ.config(bits: bits, version: "gptq")))
  }

  @Test("tensors may be in any order, among others with similar names (seed 77)")
  func order() throws {
    let weights = [ToyGPTQ("a", 8, 64, seed: 77), ToyGPTQ("a.b", 16, 64, seed: 78)]
    let others = [
      Toy("scales", .f16, [3], seed: 79), Toy("a.bias", .f16, [8], seed: 80),
      Toy("norm.scales", .f16, [3], seed: 81), Toy("g_idx", .i32, [1], bytes: [1, 0, 0, 0]),
    ]
    let path = try scratch.checkpoint(
      Array((weights.flatMap(\.tensors) + others).reversed()), config: ToyGPTQ.config(), as: "m")
    let model = try Model.open(path)
    for weight in weights { try expect(weight, in: model) }
    #expect(
      Set(model.catalog.tensors.map(\.name))
        == ["a.weight", "a.b.weight", "scales", "a.bias", "norm.scales", "g_idx"])
  }

  @Test("a single file is opened without its config, as plain tensors") func oneFile() throws {
    let weight = ToyGPTQ("a", 8, 64, seed: 82)
    let path = try scratch.checkpoint(weight.tensors, config: ToyGPTQ.config(), as: "model")
    #expect(try Model.open(path).format == .gptq)
    let file = try Model.open(path + "/model.safetensors")
    #expect(file.format == .safetensors)
    #expect(file.catalog.tensors.count == 4)
  }
}
