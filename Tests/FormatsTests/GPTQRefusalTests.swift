import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// GPTQ folders that are malformed or unsupported.
@Suite struct GPTQRefusalTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let weight = ToyGPTQ("a", 32, 64, seed: 90)

  private func error(
    _ tensors: [Toy] = weight.tensors, _ config: String = ToyGPTQ.config()
  ) throws -> ModelError {
    let path = try scratch.checkpoint(tensors, config: config, as: "model")
    let error = Laws.error { () throws(ModelError) in try Model.open(path).requireNumbers() }
    let found = try #require(error, "\(config) was opened")
    #expect(found.file?.contains("model") == true, "\(found)")
    return found
  }

  /// The tensors of the weight with one of them replaced, or removed for nil.
  private static func tensors(but tensor: Toy?, for name: String) -> [Toy] {
    weight.tensors.filter { $0.name != "a.\(name)" } + (tensor.map { [$0] } ?? [])
  }

  private static func config(_ members: String) -> String {
    #"{"quantization_config":{"quant_method":"gptq",\#(members)}}"#
  }

  @Test(
    "invalid config values are malformed, with the expected values",
    arguments: [
      (#""bits":4"#, "bits and group_size"), (#""group_size":32"#, "bits and group_size"),
      (#""bits":"4","group_size":32"#, "bits and group_size"),
      (#""bits":4,"group_size":32.5"#, "bits and group_size"),
      (#""bits":5,"group_size":32"#, "2, 3, 4 or 8 bits"),
      (#""bits":0,"group_size":32"#, "2, 3, 4 or 8 bits"),
      (#""bits":-4,"group_size":32"#, "2, 3, 4 or 8 bits"),
      (#""bits":4,"group_size":0"#, "groups of -1 or more"),
      (#""bits":4,"group_size":-2"#, "groups of -1 or more"),
      (#""bits":4,"group_size":32,"dynamic":{"+:b":{"bits":7}}"#, "2, 3, 4 or 8 bits"),
      (#""bits":4,"group_size":32,"dynamic":{"b":{"group_size":0}}"#, "groups of -1 or more"),
    ])
  func configs(members: String, expected: String) throws {
    let error = try error(Self.weight.tensors, Self.config(members))
    #expect(error.kind == .malformed, "\(error)")
    #expect(error.description.contains("config"), "\(error)")
    #expect(error.expected?.contains(expected) == true, "\(error)")
  }

  @Test(
    "layouts of other kernels are unsupported",
    arguments: [
      (#""checkpoint_format":"marlin""#, "marlin"), (#""format":"bitblas""#, "bitblas"),
      (#""is_marlin_format":true"#, "marlin"), (#""pack_dtype":"int16""#, "int16"),
    ])
  func layouts(member: String, name: String) throws {
    let error = try error(
      Self.weight.tensors, Self.config(#""bits":4,"group_size":32,\#(member)"#))
    #expect(error.kind == .unsupported, "\(error)")
    #expect(error.found == name, "\(error)")
  }

  @Test("an unknown method is unsupported, and the error names it", arguments: ["higgs", "bitnet"])
  func methods(name: String) throws {
    let error = try error(
      [Toy("a.weight", .f16, [4, 4], seed: 91)],
      #"{"quantization_config":{"quant_method":"\#(name)","bits":4}}"#)
    #expect(error.kind == .unsupported)
    #expect(error.found?.contains(name) == true, "\(error)")
  }

  /// All pairs of different code widths.
  static let differentWidths = Every.pair(of: [2, 3, 4, 8], [2, 3, 4, 8]).filter { $0 != $1 }

  @Test("there are 12 pairs of different code widths") func presence() {
    #expect(Self.differentWidths.count == 12)
  }

  @Test(
    "codes whose bits differ from the config are malformed, with both", arguments: differentWidths)
  func widths(stored: Int, stated: Int) throws {
    let weight = ToyGPTQ("a", 32, 64, bits: stored, seed: 92)
    let error = try error(weight.tensors, ToyGPTQ.config(bits: stated))
    #expect(error.kind == .malformed)
    #expect(error.tensor == "a.qweight")
    #expect(error.expected?.contains("\(stated) bits") == true)
    #expect(error.found?.contains("\(stored) bits") == true)
  }

  @Test("groups whose size differs from the config are malformed", arguments: [16, 64, -1])
  func sizes(size: Int) throws {
    let error = try error(Self.weight.tensors, ToyGPTQ.config(groupSize: size))
    #expect(error.kind == .malformed)
    #expect(error.expected?.contains(size == -1 ? "a row" : "\(size)") == true)
    #expect(error.found?.contains("2 groups in 64 columns") == true)
  }

  @Test(
    "a missing tensor is malformed by name", arguments: ["qweight", "qzeros", "scales"])
  func missing(name: String) throws {
    let error = try error(Self.tensors(but: nil, for: name))
    #expect(error.kind == .malformed)
    #expect(error.expected?.contains("a.\(name)") == true, "\(error)")
    #expect(error.found?.contains("a.\(name)") == false, "\(error)")
  }

  @Test("words must be 32-bit integers, and scales floats of 16 or 32 bits")
  func types() throws {
    let cases: [(String, ScalarType, [Int])] = [
      ("qweight", .f32, [8, 32]), ("qweight", .i64, [8, 32]), ("qzeros", .i64, [2, 4]),
      ("scales", .f64, [2, 32]), ("scales", .i32, [2, 32]), ("g_idx", .i64, [64]),
    ]
    for (name, type, shape) in cases {
      let bytes = [UInt8](repeating: 0, count: shape.reduce(1, *) * type.bitWidth / 8)
      let error = try error(
        Self.tensors(but: Toy("a.\(name)", type, shape, bytes: bytes), for: name))
      #expect(error.kind == (name == "g_idx" ? .malformed : .unsupported), "\(error)")
      #expect(error.found?.contains(type.name) == true, "\(error)")
    }
  }

  @Test("floating-point zero points are unsupported", arguments: [2, 4])
  func floats(columns: Int) throws {
    let toy = Toy("a.qzeros", .f16, [2, 8 * columns], seed: 93)
    let error = try error(Self.tensors(but: toy, for: "qzeros"))
    #expect(error.kind == .unsupported)
    #expect(error.tensor == "a.qzeros")
  }

  @Test(
    "shapes that do not match each other are malformed",
    arguments: ["qweight", "qzeros", "scales", "g_idx"])
  func shapes(name: String) throws {
    let extents = [
      [8], [8, 31], [3, 32], [0, 32], [2, 0], [1, 2, 32], [2, 5], [0, 0], [], [65],
    ]
    for shape in extents {
      let type: ScalarType = name == "scales" ? .f16 : .i32
      let bytes = [UInt8](repeating: 0, count: shape.reduce(1, *) * type.bitWidth / 8)
      let error = try error(
        Self.tensors(but: Toy("a.\(name)", type, shape, bytes: bytes), for: name))
      #expect(error.kind == .malformed, "\(name) \(shape): \(error)")
      #expect(error.tensor?.hasPrefix("a.") == true)
    }
  }

  @Test("a group index out of range is malformed", arguments: [-1, 2, 1 << 30])
  func index(group: Int) throws {
    var weight = Self.weight
    weight.groupIndex[63] = group
    let error = try error(weight.tensors)
    #expect(error.kind == .malformed)
    #expect(error.tensor == "a.g_idx")
    #expect(error.found == "\(group) for column 63")
  }

  @Test("a plain weight beside its codes is malformed") func twice() throws {
    let error = try error(Self.weight.tensors + [Toy("a.weight", .f16, [32, 64], seed: 94)])
    #expect(error.kind == .malformed)
    #expect(error.tensor == "a.weight")
  }

  @Test("extents whose product overflows give an error, not a trap")
  func overflow() throws {
    let huge = (1 << 57) - 1
    for (rows, columns) in [(0, huge), (huge, 0)] {
      let tensors = [
        Toy("a.qweight", .i32, [rows, columns], bytes: []),
        Toy("a.qzeros", .i32, [rows, columns], bytes: []),
        Toy("a.scales", .f16, [rows, columns], bytes: []),
      ]
      #expect(try error(tensors).kind == .malformed)
    }
  }

  @Test("tensors truncated at any byte are malformed (seed 95)")
  func truncation() throws {
    let weight = ToyGPTQ("a", 8, 32, seed: 95)
    let path = try scratch.checkpoint(weight.tensors, config: ToyGPTQ.config(), as: "model")
    let bytes = try scratch.bytes(of: "model/model.safetensors")
    let file = try DamagedFile(bytes, as: "model/model.safetensors", in: scratch)
    try file.forEachTruncation { length in
      let error = Laws.error { () throws(ModelError) in try Model.open(path) }
      #expect(error?.kind == .malformed, "\(length) bytes")
    }
  }

  @Test("a flipped byte in tensors or config gives an error or a readable model (seed 96)")
  func flips() throws {
    let weight = ToyGPTQ("a", 8, 32, isSymmetric: true, seed: 96)
    let path = try scratch.checkpoint(
      weight.tensors, config: ToyGPTQ.config(sym: true), as: "model")
    for name in ["model/model.safetensors", "model/config.json"] {
      let bytes = try scratch.bytes(of: name)
      let file = try DamagedFile(bytes, as: name, in: scratch)
      for mask: UInt8 in [0x01, 0x10, 0xff] {
        try file.forEachFlip(of: mask, in: bytes.indices) { offset in
          do throws(ModelError) {
            try Model.open(path).readEverything()
          } catch {
            #expect(
              [.malformed, .unsupported, .limit].contains(error.kind), "\(name) \(offset): \(error)"
            )
          }
        }
      }
    }
  }
}
