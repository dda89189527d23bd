import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// How the tensors of a PEFT adapter are interpreted.
@Suite struct PEFTTensorTests {
  private static let pair: [(name: String, shape: [Int])] = [
    ("a.lora_A.weight", [2, 16]), ("a.lora_B.weight", [12, 2]),
  ]

  private func targets(_ adapter: Adapter) -> [[String]] { adapter.changes.map(\.targets) }

  @Test(
    "the prefix, the ending and the adapter's name in tensor names are optional",
    arguments: ["base_model.model.", ""], ["", ".weight", ".default", ".default.weight"])
  func names(prefix: String, ending: String) throws {
    let adapter = try ToyAdapter.peft([
      ("\(prefix)m.0.q.lora_B\(ending)", [12, 2]), ("\(prefix)m.0.q.lora_A\(ending)", [2, 16]),
    ]).read()
    #expect(targets(adapter) == [["m.0.q.weight"]])
    let product = try #require(adapter.product)
    #expect(product.left == Factor(tensor: 0, vectorCount: 12, vectorStride: 2, rankStride: 1))
    #expect(product.right == Factor(tensor: 1, vectorCount: 16, vectorStride: 1, rankStride: 16))
    #expect(product.expertCount == 1)
  }

  @Test("changes are in file order") func order() throws {
    let names = ["z", "a", "m.10", "m.9"]
    let adapter = try ToyAdapter.peft(
      names.map { ("\($0).lora_A.weight", [2, 16]) }
        + names.reversed().map { ("\($0).lora_B.weight", [12, 2]) }
    ).read()
    #expect(targets(adapter) == names.map { ["\($0).weight"] })
  }

  @Test("a bias of lora_B is scaled and added to the bias") func factorBias() throws {
    let adapter = try ToyAdapter.peft(Self.pair + [("a.lora_B.bias", [12])]).read()
    #expect(targets(adapter) == [["a.weight"], ["a.bias"]])
    #expect(adapter.changes[1].operation == .vector(tensor: 2, scale: 3))
  }

  @Test(
    "other tensors replace those of the base model",
    arguments: [
      ("base_model.model.lm_head.weight", "lm_head.weight"),
      ("base_model.model.lm_head.modules_to_save.weight", "lm_head.weight"),
      ("base_model.model.m.0.q.bias", "m.0.q.bias"),
      ("base_model.model.m.0.q.base_layer.bias", "m.0.q.bias"), ("norm.weight", "norm.weight"),
      ("lm_head.modules_to_save.tuned.weight", "lm_head.weight"),
      ("module.base_model.model._orig_mod.norm.weight", "norm.weight"),
    ])
  func replacements(name: String, target: String) throws {
    let adapter = try ToyAdapter.peft(Self.pair + [(name, [12])]).read()
    #expect(targets(adapter) == [["a.weight"], [target]])
    #expect(adapter.changes[1].operation == .replacement(tensor: 2))
  }

  @Test("a copy of the base's tensor beside the trained one is left out") func originals() throws {
    let adapter = try ToyAdapter.peft(
      Self.pair + [
        ("score.original_module.weight", [12]), ("score.modules_to_save.weight", [12]),
      ]
    ).read()
    #expect(adapter.changes.map(\.operation).last == .replacement(tensor: 3))
    #expect(adapter.changes.count == 2)
    let alone = ToyAdapter.peft(Self.pair + [("score.original_module.weight", [12])]).fault
    #expect(alone?.kind == .malformed && alone?.tensor == "score.original_module.weight")
  }

  @Test(
    "words of wrappers, and the name of the adapter, are left out of names",
    arguments: [
      "_orig_mod.base_model.model.m.0.q.lora_%", "base_model.model.m.0._orig_mod.q.lora_%",
      "module.base_model.model.m.0._fsdp_wrapped_module.q.lora_%.tuned",
      "base_model.model.base_model.model.m.0._checkpoint_wrapped_module.q.lora_%.lora",
      "pretrained_model.base_model.model.m.0.q.lora_%",
    ])
  func wrappers(pattern: String) throws {
    let names = ["A", "B"].map { pattern.replacing("%", with: $0) + ".weight" }
    let adapter = try ToyAdapter.peft([(names[0], [2, 16]), (names[1], [12, 2])]).read()
    #expect(targets(adapter) == [["m.0.q.weight"]])
  }

  @Test("several adapters in one file are refused") func severalAdapters() {
    let fault = ToyAdapter.peft([
      ("a.lora_A.one.weight", [2, 16]), ("a.lora_B.two.weight", [12, 2]),
    ]).fault
    #expect(fault?.kind == .unsupported && fault?.found == "one, two")
  }

  @Test("tensors that DeepSpeed left empty are named as such") func emptyTensors() {
    let fault = ToyAdapter.peft(Self.pair + [("norm.weight", [0])]).fault
    #expect(fault?.kind == .malformed && fault?.tensor == "norm.weight")
    #expect(fault?.hint?.contains("ZeRO-3") == true)
  }

  @Test(
    "rows of a table are replaced by those of the adapter",
    arguments: [[7, 2], ["embed_tokens": [7, 2], "x": [1]]] as [JSONValue])
  func tokenRows(indices: JSONValue) throws {
    let name = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    let adapter = try ToyAdapter.peft(
      Self.pair + [(name, [2, 16])], ["trainable_token_indices": indices]
    ).read()
    #expect(targets(adapter) == [["a.weight"], ["model.embed_tokens.weight"]])
    #expect(adapter.changes[1].operation == .rows(tensor: 2, indices: [7, 2]))
    let unknown = ToyAdapter.peft(Self.pair + [(name, [2, 16])]).fault
    #expect(unknown?.kind == .malformed && unknown?.expected == "trainable_token_indices")
    let without = ToyAdapter.peft(Self.pair, ["trainable_token_indices": indices]).fault
    #expect(without?.kind == .malformed)
    #expect(without?.expected == "token_adapter.trainable_tokens_delta")
  }

  @Test("the factors of embeddings are transposed") func embeddings() throws {
    let adapter = try ToyAdapter.peft([
      ("e.lora_embedding_A", [2, 50]), ("e.lora_embedding_B", [16, 2]),
    ]).read()
    #expect(targets(adapter) == [["e.weight"]])
    let product = try #require(adapter.product)
    #expect(product.left == Factor(tensor: 0, vectorCount: 50, vectorStride: 1, rankStride: 50))
    #expect(product.right == Factor(tensor: 1, vectorCount: 16, vectorStride: 2, rankStride: 1))
  }

  // PEFT saves whole embeddings beside their factors (save_embedding_layers "auto").
  @Test("a copy of the embeddings is applied before their factors")
  func embeddingCopy() throws {
    let adapter = try ToyAdapter.peft([
      ("e.lora_embedding_A", [2, 50]), ("e.lora_embedding_B", [16, 2]),
      ("e.base_layer.weight", [50, 16]),
    ]).read()
    #expect(targets(adapter) == [["e.weight"], ["e.weight"]])
    let found = try Pairing(base([("e.weight", [50, 16])])).pair(adapter, Pairing.Use(index: 0))
    #expect(found.map(\.operation).first == .replacement(tensor: 2))
    #expect(found.count == 2 && found[1].lowRank != nil)
  }

  @Test(
    "a factor without its partner is malformed, and the partner is named",
    arguments: [
      ("lora_A", "lora_B"), ("lora_B", "lora_A"), ("lora_embedding_A", "lora_embedding_B"),
      ("lora_embedding_B", "lora_embedding_A"), ("lora_magnitude_vector", "lora_A"),
    ])
  func partners(role: String, partner: String) {
    let fault = ToyAdapter.peft([("m.q.\(role)", [2, 2])]).fault
    #expect(fault?.kind == .malformed)
    #expect(fault?.tensor == "m.q")
    #expect(fault?.expected == "m.q.\(partner)")
    #expect(fault?.found == role)
  }

  @Test("two tensors for one factor are refused, and both are named") func duplicates() {
    let names = ["a.lora_A.weight", "a.lora_A.default.weight"]
    let fault = ToyAdapter.peft(Self.pair + [(names[1], [2, 16])]).fault
    for name in names { #expect(fault?.found?.contains("'\(name)'") == true) }
  }

  @Test(
    "factors of different ranks are a mismatch, and the shapes are shown",
    arguments: [([2, 16], [12, 3]), ([3, 16], [12, 2])])
  func ranks(a: [Int], b: [Int]) {
    for names in [
      ("m.lora_A.weight", "m.lora_B.weight"), ("m.lora_embedding_A", "m.lora_embedding_B"),
    ] {
      let fault = ToyAdapter.peft([(names.0, a), (names.1, b)]).fault
      #expect(fault?.kind == .mismatch)
      #expect(fault?.tensor == "m")
      #expect(fault?.found?.contains("\(a[0])×\(a[1])") == true)
      #expect(fault?.found?.contains("\(b[0])×\(b[1])") == true)
    }
  }

  @Test("a rank that differs from the config is a mismatch") func configRank() {
    let fault = ToyAdapter.peft([("a.lora_A.weight", [3, 16]), ("a.lora_B.weight", [12, 3])]).fault
    #expect(fault?.kind == .mismatch)
    #expect(fault?.expected == "2" && fault?.found == "3")
  }

  @Test(
    "factors that are not matrices are refused", arguments: [[], [2], [2, 4, 4], [2, 4, 1, 1]])
  func extents(shape: [Int]) {
    for tensors in [
      [("a.lora_A.weight", shape), ("a.lora_B.weight", [12, 2])],
      [("a.lora_A.weight", [2, 16]), ("a.lora_B.weight", shape)],
      [("a.lora_embedding_A", shape), ("a.lora_embedding_B", [12, 2])],
    ] {
      let fault = ToyAdapter.peft(tensors).fault
      #expect(fault?.kind == .unsupported)
      #expect(fault?.tensor?.hasPrefix("a.lora_") == true)
      #expect((fault?.hint?.contains("convolution") == true) == (shape.count == 4))
    }
  }

  @Test("use_dora needs magnitudes, and magnitudes need use_dora") func magnitudes() throws {
    let pair = Self.pair + [("a.lora_magnitude_vector", [12])]
    #expect(try ToyAdapter.peft(pair, ["use_dora": true]).read().product?.magnitude == 2)
    #expect(try ToyAdapter.peft(Self.pair).read().product?.magnitude == nil)
    #expect(ToyAdapter.peft(pair).fault?.kind == .mismatch)
    #expect(ToyAdapter.peft(Self.pair, ["use_dora": true]).fault?.kind == .malformed)
    let embedding = ToyAdapter.peft(
      [
        ("e.lora_embedding_A", [2, 50]), ("e.lora_embedding_B", [16, 2]),
        ("e.lora_magnitude_vector", [16]),
      ], ["use_dora": true])
    #expect(embedding.fault?.kind == .unsupported)
  }

  @Test("no tensor of a module is ignored silently") func leftOut() {
    let embedding: [(name: String, shape: [Int])] = [
      ("a.lora_embedding_A", [2, 50]), ("a.lora_embedding_B", [16, 2]),
    ]
    #expect(ToyAdapter.peft(Self.pair + embedding).fault != nil)
    #expect(ToyAdapter.peft(embedding + [("a.lora_B.bias", [12])]).fault != nil)
    let parameters: JSONValue = ["target_parameters": ["a.up"]]
    #expect(ToyAdapter.peft(Self.pair + [("a.lora_B.bias", [12])], parameters).fault != nil)
    #expect(
      ToyAdapter.peft(Self.pair + [("a.lora_magnitude_vector", [12])], parameters).fault != nil)
  }

  @Test(
    "odd names are read or refused, and no tensor is dropped",
    arguments: [
      "", ".", "..", "....", "lora_A", "lora_B", "lora_A.weight", ".lora_A.weight",
      "lora_A..weight", "lora_A.lora_B", "lora_A.lora_A", "weight", "base_model",
      "base_model.model",
      "base_model.model.", "base_layer", "default", "lora_A.default",
      "a.base_layer.base_layer.lora_A",
      "\u{0}", "lora_Ä.weight", "a.lora_A.weight\u{301}",
    ])
  func weird(name: String) {
    for shape in [[], [2], [2, 2], [0, 0], [2, 0], [0, 2]] {
      for config: JSONValue in [[:], ["target_parameters": ["", ".", "a", "a.", ".a", 5]]] {
        let adapter = ToyAdapter.peft([(name, shape)], config)
        guard let read = try? adapter.read() else {
          #expect(adapter.fault?.file == "toy")
          continue
        }
        // A tensor that was read is a change, which pairing accepts or refuses.
        #expect(read.changes.count == 1)
        let pairing = Pairing(base([("q.weight", [2, 2]), ("weight", [2, 2])]))
        _ = Laws.error { () throws(ModelError) in try pairing.pair(read, Pairing.Use(index: 0)) }
      }
    }
  }

  @Test("a file without tensors changes nothing") func empty() throws {
    #expect(try ToyAdapter.peft([]).read().changes == [])
  }
}
