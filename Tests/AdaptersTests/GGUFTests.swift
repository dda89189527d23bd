import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// Adapters of llama.cpp.
@Suite struct GGUFTests {
  private static let name = "blk.0.attn_q.weight"
  private static let pair: [(name: String, shape: [Int])] = [
    ("\(name).lora_a", [2, 16]), ("\(name).lora_b", [12, 2]),
  ]

  @Test("a linear layer has PEFT's factors, with one alpha for all layers") func linear() throws {
    let adapter = try ToyAdapter.gguf(Self.pair).read()
    #expect(adapter.kind == .gguf)
    #expect(adapter.changes.map(\.targets) == [[Self.name]])
    let product = try #require(adapter.product)
    #expect(product.left == Factor(tensor: 1, vectorCount: 12, vectorStride: 2, rankStride: 1))
    #expect(product.right == Factor(tensor: 0, vectorCount: 16, vectorStride: 1, rankStride: 16))
    #expect(product.rank == 2 && product.scale == 3)
  }

  @Test("alpha is divided by the rank of each tensor") func ranks() throws {
    let adapter = try ToyAdapter.gguf(
      Self.pair + [("output.weight.lora_a", [3, 16]), ("output.weight.lora_b", [50, 3])]
    ).read()
    let scales = adapter.changes.compactMap { change -> Double? in
      if case .lowRank(let product) = change.operation { product.scale } else { nil }
    }
    #expect(scales == [3, 2])
  }

  @Test(
    "without alpha, or with alpha 0, the scale is 1",
    arguments: [["adapter.lora.alpha": 0], ["adapter.lora.alpha": .null]] as [JSONValue])
  func noAlpha(metadata: JSONValue) throws {
    #expect(try ToyAdapter.gguf(Self.pair, metadata).read().product?.scale == 1)
  }

  @Test("for token embeddings, lora_a has one row per token") func embeddings() throws {
    let adapter = try ToyAdapter.gguf([
      ("token_embd.weight.lora_a", [50, 2]), ("token_embd.weight.lora_b", [16, 2]),
    ]).read()
    let product = try #require(adapter.product)
    #expect(product.left == Factor(tensor: 0, vectorCount: 50, vectorStride: 2, rankStride: 1))
    #expect(product.right == Factor(tensor: 1, vectorCount: 16, vectorStride: 2, rankStride: 1))
  }

  @Test("stacked experts have one more dimension in front") func experts() throws {
    let adapter = try ToyAdapter.gguf([
      ("blk.0.ffn_up_exps.weight.lora_a", [3, 2, 16]),
      ("blk.0.ffn_up_exps.weight.lora_b", [3, 12, 2]),
    ]).read()
    let product = try #require(adapter.product)
    #expect(product.expertCount == 3)
    #expect(product.left.expertStride == 24 && product.right.expertStride == 32)
  }

  @Test(
    "the shapes of factors that do not fit each other are shown",
    arguments: [
      ([3, 16], [12, 2]), ([16, 2], [12, 2]), ([16], [12, 2]), ([2, 16], [2]), ([], []),
      ([0, 16], [12, 0]), ([3, 2, 16], [12, 2]), ([3, 2, 16], [2, 12, 2]),
      ([2, 16, 1, 1], [12, 2, 1, 1]),
    ])
  func misfits(a: [Int], b: [Int]) {
    for name in [Self.name, "token_embd.weight"] {
      let fault = ToyAdapter.gguf([("\(name).lora_a", a), ("\(name).lora_b", b)]).fault
      // For embeddings the rank is the last extent of lora_a.
      guard name == Self.name || a != [16, 2] else { continue }
      #expect(fault?.kind == .mismatch)
      #expect(fault?.tensor == name)
      #expect(fault?.found == "\(Shape.of(a)) and \(Shape.of(b))")
    }
  }

  @Test("a missing factor is malformed, and named", arguments: ["a", "b"])
  func missing(role: String) {
    let fault = ToyAdapter.gguf([("\(Self.name).lora_\(role)", [2, 2])]).fault
    #expect(fault?.kind == .malformed)
    #expect(fault?.expected == "\(Self.name).lora_\(role == "a" ? "b" : "a")")
  }

  @Test("tensors without factors, such as norms, replace those of the base model")
  func replacements() throws {
    let names = ["output_norm.weight", "blk.0.attn_norm.weight", "q.lora_c"]
    let adapter = try ToyAdapter.gguf(Self.pair + names.map { ($0, [4]) }).read()
    #expect(adapter.changes.count == names.count + 1)
    for (index, name) in names.enumerated() {
      #expect(adapter.changes[index].candidates[0].target == name)
      #expect(
        adapter.changes[index].operation == .replacement(tensor: Self.pair.count + index))
    }
  }

  @Test(
    "adapters other than LoRA, and activated LoRA, are refused",
    arguments: [
      ["adapter.type": "control_vector"], ["adapter.type": .null],
      ["adapter.alora.invocation_tokens": []],
    ] as [JSONValue])
  func others(metadata: JSONValue) {
    #expect(ToyAdapter.gguf(Self.pair, metadata).fault?.kind == .unsupported)
  }
}

/// How the tool of an adapter is recognized.
@Suite struct AdapterKindTests {
  private func kind(_ names: [String], _ config: JSONValue) throws(ModelError) -> AdapterKind {
    try AdapterKind(
      AdapterContents(
        path: "toy", config: config,
        tensors: names.map {
          TensorInfo(name: $0, shape: .of([2, 2]), encoding: .plain(.f32))
        }))
  }

  @Test("the tool is recognized by the config, or else by tensor names") func kinds() throws {
    #expect(try kind([], ["peft_type": "LORA"]) == .peft)
    #expect(try kind(["q.lora_A.weight"], .null) == .peft)
    #expect(try kind(["q.lora_embedding_A"], .null) == .peft)
    #expect(try kind([], ["fine_tune_type": "lora"]) == .mlx)
    #expect(try kind(["q.lora_a"], .null) == .mlx)
    #expect(try kind(["q.lora_a"], ["general.type": "adapter"]) == .gguf)
  }

  @Test("other files are refused, and the error names a tensor") func others() {
    for (names, config) in [
      (["q.weight", "k.weight"], JSONValue.null), ([], .null), (["q.weight"], ["a": 1]),
      (["q.weight"], ["general.type": "model"]), (["x"], []),
    ] {
      let error = Laws.error { () throws(ModelError) in try kind(names, config) }
      #expect(error?.kind == .unsupported)
      #expect(error?.file == "toy")
      if let name = names.first { #expect(error?.found?.contains("'\(name)'") == true) }
    }
  }

  @Test("every kind has a different tool") func tools() {
    #expect(Set(AdapterKind.allCases.map(\.tool)).count == AdapterKind.allCases.count)
  }
}
