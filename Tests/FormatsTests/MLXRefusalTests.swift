import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Folders of MLX that make no sense, or are of a kind that Pleat does not read.
@Suite struct MLXRefusalTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func error(_ tensors: [Toy], _ quantization: String) throws -> ModelError {
    let path = try scratch.checkpoint(
      tensors, config: "{\"quantization\":\(quantization)}", as: "model")
    let error = Laws.error { () throws(ModelError) in try Model.open(path) }
    let found = try #require(error, "\(quantization) was opened")
    #expect(found.file?.contains("model") == true, "\(found)")
    return found
  }

  private static let weight = ToyMLX("a", [4, 64], seed: 50)
  private static let plainConfig = #"{"group_size":32,"bits":4}"#

  /// The tensors of the weight without one, or with another in its place.
  private static func tensors(without name: String, but tensor: Toy? = nil) -> [Toy] {
    weight.tensors.filter { $0.name != "a.\(name)" } + (tensor.map { [$0] } ?? [])
  }

  @Test(
    "values of the config that make no sense are malformed, with the place and what there may be",
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
    "modes without biases are unsupported, for the model and for a layer",
    arguments: [
      (#"{"group_size":32,"bits":4,"mode":"mxfp4"}"#, "mxfp4"),
      (#"{"group_size":16,"bits":4,"mode":"nvfp4"}"#, "nvfp4"),
      (#"{"group_size":32,"bits":8,"mode":"mxfp8"}"#, "mxfp8"),
      (#"{"group_size":32,"bits":4,"b":{"group_size":32,"bits":4,"mode":"mxfp4"}}"#, "mxfp4"),
      (#"{"group_size":32,"bits":4,"b":{"group_size":16,"bits":4,"mode":"nvfp4"}}"#, "nvfp4"),
    ])
  func modes(quantization: String, mode: String) throws {
    let error = try error(Self.weight.tensors, quantization)
    #expect(error.kind == .unsupported, "\(error)")
    #expect(error.found?.contains(mode) == true, "\(error)")
  }

  @Test(
    "codes that are wider or narrower than the config says are malformed, with both",
    arguments: Every.pair(of: [2, 3, 4, 5, 6, 8], [2, 3, 4, 5, 6, 8]))
  func widths(stored: Int, stated: Int) throws {
    guard stored != stated else { return }
    let weight = ToyMLX("a", [4, 64], bits: stored, seed: 51)
    let error = try error(weight.tensors, #"{"group_size":32,"bits":\#(stated)}"#)
    #expect(error.kind == .malformed)
    #expect(error.tensor == "a.weight")
    #expect(error.expected?.contains("\(stated)-bit") == true)
    #expect(error.found?.contains("4×\(2 * stored)") == true)
  }

  @Test("groups of another size than the config says are malformed")
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
    "codes without scales or without biases are malformed, and the error names what is missing",
    arguments: ["scales", "biases"])
  func missing(name: String) throws {
    let error = try error(Self.tensors(without: name), Self.plainConfig)
    #expect(error.kind == .malformed)
    #expect(error.tensor?.hasPrefix("a") == true)
    #expect(error.expected?.contains("a.\(name)") == true, "\(error)")
    #expect(error.found?.contains("a.\(name)") == false, "\(error)")
  }

  @Test("scales and biases without codes are malformed, whatever weight is there")
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
    "scales and biases have one type, a float of 16 or 32 bits; the error names it",
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

  @Test("both of a type that is no float of 16 or 32 bits are refused likewise")
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
    "scales and biases of other extents than the codes ask for are malformed",
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

  @Test("extents beyond what can be counted give an error, and no trap")
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
