import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Tensors that a format cannot store are refused before anything is written.
@Suite struct RefusalTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func error(
    writing tensors: [Toy], metadata: [(String, String)] = [("general.architecture", "llama")]
  ) throws -> ModelError? {
    let source = try scratch.write(
      ToyFiles.safetensors(tensors, metadata: metadata), as: "source.safetensors")
    let target = scratch.path("out.gguf")
    let error = Laws.error { () throws(ModelError) in
      try Rewriting.convert(source, to: target, .gguf)
    }
    let expected = (error == nil ? ["out.gguf"] : []) + ["source.safetensors"]
    #expect(try scratch.names() == expected)
    return error
  }

  @Test("gguf stores names of up to 63 bytes", arguments: [63, 64, 200])
  func nameLengths(length: Int) throws {
    let name = String(repeating: "n", count: length)
    let error = try error(writing: [Toy(name, .f32, [4], seed: 1)])
    #expect(error?.kind == (length > 63 ? .unsupported : nil))
    #expect(error?.tensor == (length > 63 ? name : nil))
  }

  @Test("the length of a name is counted in bytes, not characters")
  func nameBytes() throws {
    let error = try error(writing: [Toy(String(repeating: "ü", count: 32), .f32, [4], seed: 1)])
    #expect(error?.kind == .unsupported)
    #expect(error?.found == "64")
  }

  @Test("gguf refuses tensors without elements", arguments: [[0], [0, 4], [4, 0], [2, 0, 3]])
  func emptyTensors(shape: [Int]) throws {
    let error = try error(writing: [Toy("none", .f32, shape, [])])
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor == "none")
  }

  @Test("gguf stores up to four dimensions", arguments: 0...6)
  func ranks(rank: Int) throws {
    let shape = [Int](repeating: 1, count: rank)
    let error = try error(writing: [Toy("one", .f32, shape, [1])])
    #expect(error?.kind == (rank > 4 ? .unsupported : nil))
  }

  @Test("gguf stores the plain types of GGML", arguments: ScalarType.allCases)
  func plainTypes(type: ScalarType) throws {
    let known: Set<ScalarType> = [.f32, .f16, .bf16, .f64, .i8, .i16, .i32, .i64]
    var random = Seeded(5)
    let toy = Toy("t", type, [8], bytes: random.bytes(type.bitWidth))
    let error = try error(writing: [toy])
    #expect(error?.kind == (known.contains(type) ? nil : .unsupported))
    #expect(error == nil || error?.tensor == "t")
  }

  @Test("gguf refuses a model without an architecture")
  func architecture() throws {
    let error = try error(writing: [Toy("t", .f32, [8], seed: 1)], metadata: [])
    #expect(error?.kind == .unsupported)
    #expect(error?.what.contains("config.json") == true)
  }

  @Test(
    "safetensors and pleat files store tensors without elements",
    arguments: ["safetensors", "pleat"])
  func emptyElsewhere(name: String) throws {
    let tensors = [
      Toy("none", .f16, [0, 4], []), Toy("some", .f16, [2], [1, 2]), Toy("last", .f32, [3, 0], []),
    ]
    let source = try scratch.write(ToyFiles.safetensors(tensors), as: "source.safetensors")
    let path = try Rewriting.convert(
      source, to: scratch.path("out.\(name)"), try Formats.named(name))
    let shapes = try Model.open(path).catalog.tensors.map { "\($0.name) \($0.shape)" }
    #expect(shapes.sorted() == ["last 3×0", "none 0×4", "some 2"])
  }
}
