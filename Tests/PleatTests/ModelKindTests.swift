import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Files that are no models, although other tools write them like models.
@Suite struct ModelKindTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let measured = [
    Toy("blk.0.ffn_up.weight.in_sum2", .f32, [3, 40], seed: 760),
    Toy("blk.0.ffn_up.weight.counts", .f32, [3, 1], seed: 761),
  ]
  private static let weights = [Toy("blk.0.ffn_up.weight", .f32, [3, 64], seed: 762)]

  private func gguf(_ tensors: [Toy], _ metadata: [(String, String)]) throws -> Model {
    try Model.open(
      try scratch.write(
        ToyFiles.gguf(tensors.map { ($0, typeNumber: 0) }, metadata: metadata), as: "m.gguf"))
  }

  @Test("metadata and tensors tell what a file is for") func kinds() throws {
    let cases: [([Toy], [(String, String)], ModelKind)] = [
      (Self.weights, [("general.architecture", "llama")], .model),
      (Self.weights, [("general.architecture", "llama"), ("general.type", "model")], .model),
      (Self.weights, [("general.type", "imatrix")], .importanceMatrix),
      (
        Self.measured, [("general.type", "imatrix"), ("general.architecture", "x")],
        .importanceMatrix
      ),
      (Self.measured, [("other", "x")], .importanceMatrix),
      (Self.measured + Self.weights, [("other", "x")], .model),
      (Self.weights, [("general.architecture", "clip")], .projector),
      (Self.weights, [("general.type", "mmproj")], .projector),
      (Self.weights, [("general.type", "adapter")], .adapter), ([], [("other", "x")], .model),
      (Self.weights, [("general.architecture", "controlvector")], .controlVector),
      ([], [("tokenizer.ggml.tokens", "x")], .vocabulary),
      (Self.weights, [("tokenizer.ggml.tokens", "x")], .model),
    ]
    for (tensors, metadata, kind) in cases {
      let model = try gguf(tensors, metadata)
      #expect(model.kind == kind, "\(metadata)")
      let json = Inspection(model).json(tensors: nil, statistics: [:], showsMetadata: false)
      #expect(json["kind"] == .string(kind.rawValue))
    }
  }

  @Test(
    "what is no model is neither converted, nor quantized, nor folded into",
    arguments: [
      ("imatrix", "x", "an importance matrix of llama-imatrix"), ("adapter", "llama", "an adapter"),
      ("model", "controlvector", "a control vector of llama.cpp"),
    ])
  func noModel(type: String, architecture: String, what: String) throws {
    let model = try gguf(
      Self.measured, [("general.type", type), ("general.architecture", architecture)])
    var errors: [ModelError?] = []
    for format in [Format.pleat, .gguf, .safetensors] {
      let destination = Destination(path: scratch.path("out"), format: format)
      errors += [
        Laws.error { () throws(ModelError) in try Plan.converting(model, to: destination) },
        Laws.error { () throws(ModelError) in
          try Plan.quantizing(model, Recipe(), to: destination)
        },
        Laws.error { () throws(ModelError) in try Plan.folding([], into: model, to: destination) },
      ]
    }
    for error in errors {
      #expect(error?.kind == .unsupported && error?.file == model.path)
      #expect(error?.what == what + ", not a model" && error?.hint != nil)
    }
  }

  @Test("a file that holds only a tokenizer is no model, and names its next step")
  func vocabulary() throws {
    let model = try gguf([], [("tokenizer.ggml.tokens", "x")])
    let error = Laws.error { () throws(ModelError) in
      try Plan.quantizing(
        model, Recipe(), to: Destination(path: scratch.path("out"), format: .gguf))
    }
    #expect(error?.what == "a vocabulary of llama.cpp without weights, not a model")
    #expect(error?.hint?.contains("--tokenizer-from") == true)
  }

  @Test("pickles and older importance matrices are called what they are")
  func otherFiles() throws {
    let name = Array("blk.0.attn_k.weight".utf8)
    let matrix =
      Numbers.little(UInt32(2)) + Numbers.little(UInt32(name.count)) + name
      + Numbers.little(UInt32(1)) + Numbers.little(UInt32(40))
    let cases: [([UInt8], String?)] = [
      (matrix, "an importance matrix of llama-imatrix"), ([0x80, 2, 0x8A], "a PyTorch pickle"),
      ([0x80, 4, 0x95], "a PyTorch pickle"), (Array("PK\u{3}\u{4}".utf8), "a PyTorch pickle"),
      ([0x80, 9, 0], nil), (Array("nothing".utf8), nil), (Array(matrix.prefix(8)), nil),
    ]
    for (bytes, found) in cases {
      let path = try scratch.write(bytes, as: "file")
      let error = Laws.error { () throws(ModelError) in try Model.open(path) }
      #expect(error?.kind == (found == nil ? .malformed : .unsupported))
      #expect(error?.found == found)
    }
  }
  @Test("an archive of arrays is not called a pickle") func arrays() throws {
    let path = try scratch.write(Array("PK\u{3}\u{4}".utf8), as: "weights.npz")
    let error = Laws.error { () throws(ModelError) in try Model.open(path) }
    #expect(error?.kind == .unsupported && error?.found == "an archive of NumPy arrays")
  }
}
