import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// Adapters of mlx-lm.
@Suite struct MLXTests {
  private static let pair: [(name: String, shape: [Int])] = [
    ("m.0.q.lora_a", [16, 2]), ("m.0.q.lora_b", [2, 12]),
  ]

  @Test("a linear layer has transposed factors, and the config's scale") func linear() throws {
    let adapter = try ToyAdapter.mlx(Self.pair).read()
    #expect(adapter.kind == .mlx)
    #expect(adapter.pooling == nil)
    #expect(adapter.changes.map(\.targets) == [["m.0.q.weight"]])
    let product = try #require(adapter.product)
    #expect(product.left == Factor(tensor: 1, vectorCount: 12, vectorStride: 1, rankStride: 12))
    #expect(product.right == Factor(tensor: 0, vectorCount: 16, vectorStride: 2, rankStride: 1))
    #expect(product.rank == 2 && product.scale == 3)
  }

  @Test("for embeddings, lora_a has one row per token", arguments: ["embed_tokens", "wte"])
  func embeddings(name: String) throws {
    let adapter = try ToyAdapter.mlx([
      ("m.\(name).lora_a", [50, 2]), ("m.\(name).lora_b", [2, 16]),
    ]).read()
    let product = try #require(adapter.product)
    #expect(product.left == Factor(tensor: 0, vectorCount: 50, vectorStride: 2, rankStride: 1))
    #expect(product.right == Factor(tensor: 1, vectorCount: 16, vectorStride: 1, rankStride: 16))
  }

  @Test("a change of tied embeddings is one of the head", arguments: ["lora", "full"])
  func tiedEmbeddings(type: String) throws {
    let adapter = ToyAdapter.mlx(
      type == "full"
        ? [("m.embed_tokens.weight", [50, 16])]
        : [("m.embed_tokens.lora_a", [50, 2]), ("m.embed_tokens.lora_b", [2, 16])],
      ["fine_tune_type": .string(type)])
    #expect(try adapter.read().tiesEmbeddings)
  }

  @Test("experts are [experts, rank, inputs] and [experts, outputs, rank]") func experts() throws {
    let adapter = try ToyAdapter.mlx([("m.up.lora_a", [3, 2, 16]), ("m.up.lora_b", [3, 12, 2])])
      .read()
    let product = try #require(adapter.product)
    #expect(product.expertCount == 3 && product.rank == 2)
    #expect(
      product.left
        == Factor(tensor: 1, vectorCount: 12, vectorStride: 2, rankStride: 1, expertStride: 24))
    #expect(
      product.right
        == Factor(tensor: 0, vectorCount: 16, vectorStride: 1, rankStride: 16, expertStride: 32))
  }

  @Test("rank 0 is accepted") func rankZero() throws {
    let adapter = try ToyAdapter.mlx([("q.lora_a", [16, 0]), ("q.lora_b", [0, 12])]).read()
    #expect(adapter.product?.rank == 0)
  }

  @Test(
    "the shapes of factors that do not fit each other are shown",
    arguments: [
      ([16, 2], [3, 12]), ([16, 2], [12, 2]), ([2, 16], [2, 12]), ([16], [2, 12]), ([16, 2], []),
      ([3, 2, 16], [2, 12]), ([3, 2, 16], [2, 12, 2]), ([3, 2, 16], [3, 2, 12]),
      ([1, 16, 2, 1], [1, 2, 12, 1]),
    ])
  func misfits(a: [Int], b: [Int]) {
    let fault = ToyAdapter.mlx([("m.q.lora_a", a), ("m.q.lora_b", b)]).fault
    #expect(fault?.kind == .mismatch)
    #expect(fault?.tensor == "m.q")
    #expect(fault?.found == "\(Shape.of(a)) and \(Shape.of(b))")
  }

  @Test(
    "a missing factor is malformed", arguments: [["lora_a"], ["lora_b"], ["m"], ["lora_a", "m"]])
  func missing(roles: [String]) {
    let fault = ToyAdapter.mlx(roles.map { ("q.\($0)", [2, 2]) }).fault
    #expect(fault?.kind == .malformed)
    #expect(fault?.tensor == "q")
    #expect(fault?.found == roles.joined(separator: ", "))
  }

  @Test("DoRA needs m, and LoRA must not have it") func dora() throws {
    let config: JSONValue = ["fine_tune_type": "dora"]
    let pair = Self.pair + [("m.0.q.m", [12])]
    #expect(try ToyAdapter.mlx(pair, config).read().product?.magnitude == 2)
    #expect(ToyAdapter.mlx(pair).fault?.kind == .malformed)
    #expect(ToyAdapter.mlx(Self.pair, config).fault?.kind == .malformed)
  }

  @Test("DoRA of embeddings and of experts is refused") func unsupportedDoRA() {
    let config: JSONValue = ["fine_tune_type": "dora"]
    let embeddings = ToyAdapter.mlx(
      [("wte.lora_a", [50, 2]), ("wte.lora_b", [2, 16]), ("wte.m", [16])], config)
    #expect(embeddings.fault?.kind == .unsupported)
    // These are magnitudes for one expert. They must not be used for all of them.
    let experts = ToyAdapter.mlx(
      [("up.lora_a", [3, 2, 16]), ("up.lora_b", [3, 12, 2]), ("up.m", [12])], config)
    let pairing = Pairing(base([("up.weight", [3, 12, 16])]))
    let error = Laws.error { () throws(ModelError) in
      try pairing.pair(try experts.read(), Pairing.Use(index: 0))
    }
    #expect(error != nil)
  }

  @Test("other kinds of fine-tuning are refused and named", arguments: ["ia3", ""])
  func tunings(type: String) {
    let fault = ToyAdapter.mlx(Self.pair, ["fine_tune_type": .string(type)]).fault
    #expect(fault?.kind == .unsupported)
    #expect(fault?.found == type)
  }

  @Test("after a full training, tensors replace those of the base model") func full() throws {
    let adapter = try ToyAdapter.mlx(
      [("m.0.q.weight", [12, 16]), ("norm.weight", [16])],
      ["fine_tune_type": "full", "lora_parameters": .null]
    ).read()
    #expect(adapter.changes.map(\.candidates[0].target) == ["m.0.q.weight", "norm.weight"])
    #expect(
      adapter.changes.map(\.operation) == [.replacement(tensor: 0), .replacement(tensor: 1)])
  }

  @Test(
    "a missing or invalid scale is malformed",
    arguments: [
      .null, [:], ["rank": 2], ["scale": "3"], ["scale": .null], ["scale": .number(.infinity)],
      ["rank": 2, "alpha": 16], [3],
    ] as [JSONValue])
  func scale(parameters: JSONValue) {
    let fault = ToyAdapter.mlx(Self.pair, ["lora_parameters": parameters]).fault
    #expect(fault?.kind == .malformed)
    #expect(fault?.expected?.contains("adapter_config.json") == true)
    var adapter = ToyAdapter.mlx(Self.pair)
    adapter.config = .null
    #expect(adapter.fault?.kind == .malformed)
  }

  @Test("all unknown tensors are named in one error") func unknown() {
    let names = ["", ".", "lora_a", "q.weight", "q.lora_A", "q.lora_a.weight", "q.scales"]
    let fault = ToyAdapter.mlx(Self.pair + names.map { ($0, [2, 2]) }).fault
    #expect(fault?.kind == .unsupported)
    for name in names { #expect(fault?.found?.contains("'\(name)'") == true, "\(name)") }
  }
}
