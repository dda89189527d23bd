import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// MLX folders that are malformed or unsupported.
@Suite struct MLXRefusalTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func error(_ tensors: [Toy], _ quantization: String) throws -> ModelError {
    let path = try scratch.checkpoint(
      tensors, config: "{\"quantization\":\(quantization)}", as: "model")
    let error = Laws.error { () throws(ModelError) in try Model.open(path).requireNumbers() }
    let found = try #require(error, "\(quantization) was opened")
    #expect(found.file?.contains("model") == true, "\(found)")
    return found
  }

  private static let weight = ToyMLX("a", [4, 64], seed: 50)
  private static let plainConfig = #"{"group_size":32,"bits":4}"#

  /// The tensors of the weight with one of them removed or replaced.
  private static func tensors(without name: String, but tensor: Toy? = nil) -> [Toy] {
    weight.tensors.filter { $0.name != "a.\(name)" } + (tensor.map { [$0] } ?? [])
  }

  @Test(
    "invalid config values are malformed, with the expected values",
    arguments: [
      (#"{"group_size":32}"#, "group_size and bits"), (#"{"bits":4}"#, "group_size and bits"),
      (#"{"group_size":32,"bits":"4"}"#, "group_size and bits"),
      (#"{"group_size":32,"bits":4.5}"#, "group_size and bits"),
      (#"{"group_size":32,"bits":null}"#, "group_size and bits"),
      (#"{"group_size":32,"bits":1000000000000000000000}"#, "group_size and bits"),
      (#"{"group_size":32,"bits":7}"#, "2, 3, 4, 5, 6 or 8 bits"),
      (#"{"group_size":32,"bits":0}"#, "2, 3, 4, 5, 6 or 8 bits"),
      (#"{"group_size":32,"bits":-4}"#, "2, 3, 4, 5, 6 or 8 bits"),
      (#"{"group_size":48,"bits":4}"#, "groups of 32, 64 or 128"),
      (#"{"group_size":0,"bits":4}"#, "groups of 32, 64 or 128"),
      (#"{"group_size":32,"bits":4,"a":{"bits":4}}"#, "group_size and bits"),
      (#"{"group_size":32,"bits":4,"b":{"group_size":32,"bits":9}}"#, "2, 3, 4, 5, 6 or 8 bits"),
    ])
  func configs(quantization: String, expected: String) throws {
    let error = try error(Self.weight.tensors, quantization)
    #expect(error.kind == .malformed, "\(error)")
    #expect(error.description.contains("config"), "\(error)")
    #expect(error.expected?.contains(expected) == true, "\(error)")
  }

  @Test(
    "weights with biases in a model of a mode without biases are malformed",
    arguments: [
      #"{"group_size":32,"bits":4,"mode":"mxfp4"}"#, #"{"group_size":16,"bits":4,"mode":"nvfp4"}"#,
      #"{"group_size":32,"bits":8,"mode":"mxfp8"}"#,
    ])
  func scaledModes(quantization: String) throws {
    let error = try error(Self.weight.tensors, quantization)
    #expect(error.kind == .malformed, "\(error)")
    #expect(error.expected == "group_size and bits", "\(error)")
  }

  @Test(
    "modes that MLX does not have are unsupported, for the model and for a layer",
    arguments: [
      #"{"group_size":32,"bits":4,"mode":"nvfp9"}"#,
      #"{"group_size":32,"bits":4,"b":{"group_size":32,"bits":4,"mode":"nvfp9"}}"#,
    ])
  func modes(quantization: String) throws {
    let error = try error(Self.weight.tensors, quantization)
    #expect(error.kind == .unsupported, "\(error)")
    #expect(error.found?.contains("nvfp9") == true, "\(error)")
  }

  /// All pairs of different code widths.
  static let differentWidths = Every.pair(
    of: Grouping.supportedBits, Grouping.supportedBits
  ).filter { $0 != $1 }

  @Test("there are 30 pairs of different code widths") func presence() {
    #expect(Self.differentWidths.count == 30)
  }

  @Test(
    "codes whose bits differ from the config are malformed, with both", arguments: differentWidths)
  func widths(stored: Int, stated: Int) throws {
    let weight = ToyMLX("a", [4, 64], bits: stored, seed: 51)
    let error = try error(weight.tensors, #"{"group_size":32,"bits":\#(stated)}"#)
    #expect(error.kind == .malformed)
    #expect(error.tensor == "a.weight")
    #expect(error.expected?.contains("\(stated)-bit") == true)
    #expect(error.found?.contains("4×\(2 * stored)") == true)
  }

  @Test("groups whose size differs from the config are malformed")
  func sizes() throws {
    let weight = ToyMLX("a", [4, 128], bits: 4, groupSize: 64, seed: 52)
    for size in [32, 128] {
      let error = try error(weight.tensors, #"{"group_size":\#(size),"bits":4}"#)
      #expect(error.kind == .malformed)
      #expect(error.tensor == "a.weight")
      #expect(error.expected?.contains("\(size) columns") == true)
    }
  }

  @Test(
    "a missing tensor of scales or biases is malformed by name",
    arguments: ["scales", "biases"])
  func missing(name: String) throws {
    let error = try error(Self.tensors(without: name), Self.plainConfig)
    #expect(error.kind == .malformed)
    #expect(error.tensor?.hasPrefix("a") == true)
    #expect(error.expected?.contains("a.\(name)") == true, "\(error)")
    #expect(error.found?.contains("a.\(name)") == false, "\(error)")
  }

  @Test("scales and biases without codes are malformed, with and without a plain weight")
  func codeless() throws {
    let others = [
      nil, Toy("a.weight", .f16, [4, 64], seed: 53),
      Toy("a.weight", .i32, [4, 8], bytes: Self.weight.tensors[0].bytes),
    ]
    for other in others {
      let error = try error(Self.tensors(without: "weight", but: other), Self.plainConfig)
      #expect(error.kind == .malformed, "\(error)")
      #expect(error.description.contains("a."), "\(error)")
    }
  }

  @Test(
    "scales and biases of different types are malformed, and the error names the type",
    arguments: ["scales", "biases"])
  func types(name: String) throws {
    for type in [ScalarType.f32, .bf16, .f64, .u8, .i16] {
      let toy = Toy(
        "a.\(name)", type, [4, 2], bytes: [UInt8](repeating: 0, count: type.bitWidth))
      let error = try error(Self.tensors(without: name, but: toy), Self.plainConfig)
      #expect(error.kind == .malformed)
      #expect(error.tensor == "a.weight")
      #expect(error.found?.contains(type.name) == true, "\(error)")
    }
  }

  @Test("scales and biases must be floats of 16 or 32 bits")
  func bothTypes() throws {
    for type in [ScalarType.f64, .u8, .i32] {
      let tensors =
        [Self.weight.tensors[0]]
        + ["a.scales", "a.biases"].map {
          Toy($0, type, [4, 2], bytes: [UInt8](repeating: 0, count: type.bitWidth))
        }
      let error = try error(tensors, Self.plainConfig)
      #expect(error.kind == .malformed)
      #expect(error.found?.contains(type.name) == true, "\(error)")
    }
  }

  @Test(
    "scales and biases whose shape does not match the codes are malformed",
    arguments: [[4, 1], [4, 3], [3, 2], [2, 4], [8], [1, 4, 2], [4, 0], [0, 2], []])
  func shapes(extents: [Int]) throws {
    let bytes = [UInt8](repeating: 0, count: extents.reduce(1, *) * 2)
    for names in [["scales"], ["biases"], ["scales", "biases"]] {
      let tensors =
        Self.weight.tensors.filter { tensor in !names.contains { tensor.name == "a.\($0)" } }
        + names.map { Toy("a.\($0)", .f16, extents, bytes: bytes) }
      let error = try error(tensors, Self.plainConfig)
      #expect(error.kind == .malformed)
      #expect(error.tensor == "a.weight")
    }
  }

  @Test("extents whose product overflows give an error, not a trap")
  func overflow() throws {
    let huge = (1 << 57) - 1
    for extents in [[0, huge], [huge, 0]] {
      let tensors = [
        Toy("a.weight", .u32, extents, bytes: []), Toy("a.scales", .f16, extents, bytes: []),
        Toy("a.biases", .f16, extents, bytes: []),
      ]
      let error = try error(tensors, #"{"group_size":128,"bits":8}"#)
      #expect(error.kind == .malformed)
    }
  }
}
