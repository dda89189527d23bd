import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// The entries of an importance matrix that belong to the tensors of a model.
@Suite struct ImportanceTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let experts: [Float] = (0..<12).map { Float($0) }

  private func matrix(
    _ entries: [ToyImportance], isOld: Bool = false
  ) throws -> ImportanceMatrix {
    let bytes = isOld ? ToyImportance.data(entries) : ToyImportance.gguf(entries)
    // A matrix reads its file later, so each has its own.
    let name = "matrix-\(try scratch.names().count)"
    return try ImportanceMatrix.read(try scratch.write(bytes, as: name))
  }

  private func gguf(_ tensors: [(String, [Int])]) throws -> Model {
    let toys = tensors.enumerated().map { index, tensor in
      (Toy(tensor.0, .f16, tensor.1, seed: UInt64(900 + index)), typeNumber: UInt32(1))
    }
    return try Model.open(try scratch.write(ToyFiles.gguf(toys), as: "model.gguf"))
  }

  private func checkpoint(
    _ type: String, _ tensors: [(String, [Int])], hiddenSize: Int? = nil
  ) throws -> Model {
    let toys = tensors.enumerated().map { index, tensor in
      Toy(tensor.0, .f16, tensor.1, seed: UInt64(900 + index))
    }
    try scratch.write(ToyFiles.safetensors(toys), as: "hf/model.safetensors")
    let width = hiddenSize.map { ", \"hidden_size\": \($0)" } ?? ""
    try scratch.write("{\"model_type\": \"\(type)\"\(width)}", as: "hf/config.json")
    return try Model.open(scratch.path("hf"))
  }

  @Test("tensors of a GGUF model have the entries of their names") func names() throws {
    let model = try gguf([
      ("token_embd.weight", [8, 4]), ("blk.0.attn_q.weight", [4, 4]),
      ("blk.0.ffn_up_exps.weight", [3, 2, 4]), ("blk.0.ffn_norm.weight", [4]),
      ("blk.0.ffn_gate_inp.weight", [3, 4]), ("output.weight", [8, 4]),
    ])
    let importance = try Importance(
      try matrix([
        ToyImportance("blk.0.attn_q.weight", [2, 4, 6, 8], [2]),
        ToyImportance("blk.0.ffn_gate_inp.weight", [1, 1, 1, 1], [2]),
        ToyImportance("blk.0.ffn_up_exps.weight", Self.experts, [4, 0, 0]),
        ToyImportance("blk.1.attn_q.weight", [1, 1, 1, 1], [2]),
      ]), for: model)
    #expect(try importance.weights(for: "blk.0.attn_q.weight") == [1, 2, 3, 4])
    #expect(
      try importance.weights(for: "blk.0.ffn_up_exps.weight")
        == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1, 1])
    #expect(try importance.weights(for: "output.weight") == nil)
    #expect(!importance.contains("blk.0.ffn_norm.weight"))
    #expect(importance.weightCount == 4)
    #expect(importance.missing == ["token_embd.weight", "output.weight"])
    #expect(importance.unseen.map(\.entry) == ["blk.0.ffn_up_exps.weight"])
    #expect(importance.unseen.map(\.experts) == [[1, 2]])
    #expect(importance.unused == ["blk.1.attn_q.weight"])
    #expect(
      importance.summary
        == "importance: 2 of 4 weights; missing: token_embd.weight, output.weight; "
        + "blk.0 experts 1, 2 never seen; of no weight: blk.1.attn_q.weight")
  }

  @Test("an expert of a checkpoint has its part of the entry of the stack") func experts() throws {
    let experts = ["w1", "w2", "w3"].flatMap { part in
      (0..<3).map { expert in
        ("model.layers.2.block_sparse_moe.experts.\(expert).\(part).weight", [2, 4])
      }
    }
    let model = try checkpoint(
      "mixtral", experts + [("model.layers.2.self_attn.k_proj.weight", [2, 4])])
    let stacks = ["ffn_down_exps", "ffn_gate_exps", "ffn_up_exps"].map {
      ToyImportance("blk.2.\($0).weight", Self.experts, [1, 0, 1])
    }
    let query = ToyImportance("blk.2.attn_k.weight", [4, 0, 4, 2], [4])
    let importance = try Importance(try matrix([query] + stacks), for: model)
    #expect(importance.missing == [] && importance.unused == [])
    #expect(try importance.weights(for: experts[2].0) == [8, 9, 10, 11])
    #expect(try importance.weights(for: experts[4].0) == [1, 1, 1, 1])
    #expect(
      try importance.weights(for: "model.layers.2.self_attn.k_proj.weight") == [1, 0, 1, 0.5])
    #expect(importance.summary == "importance: 10 of 10 weights; blk.2 expert 1 never seen")
    // A .dat file has 1 for an expert that no token reached.
    let old = stacks.map {
      ToyImportance($0.name, [0, 2, 4, 6, 2, 2, 2, 2, 8, 10, 12, 14], [2])
    }
    let other = try Importance(try matrix(old, isOld: true), for: model)
    #expect(try other.weights(for: experts[2].0) == [4, 5, 6, 7])
    #expect(
      other.summary == "importance: 9 of 10 weights; "
        + "missing: model.layers.2.self_attn.k_proj.weight; blk.2 expert 1 never seen")
  }

  @Test("fused weights and stacks have the columns of their parts") func fused() throws {
    let tensors: [(String, [Int], String)] = [
      ("model.layers.0.self_attn.qkv_proj.weight", [12, 4], "blk.0.attn_k.weight"),
      ("model.layers.0.mlp.gate_up_proj.weight", [8, 4], "blk.0.ffn_up.weight"),
      ("model.layers.0.mlp.experts.gate_up_proj", [3, 4, 4], "blk.0.ffn_up_exps.weight"),
      ("model.layers.0.mlp.experts.down_proj", [3, 4, 4], "blk.0.ffn_down_exps.weight"),
      (
        "model.layers.1.mlp.switch_mlp.gate_proj.weight", [3, 4, 4], "blk.1.ffn_gate_exps.weight"
      ),
      (
        "language_model.model.layers.1.mlp.switch_mlp.down_proj.weight", [3, 4, 4],
        "blk.1.ffn_down_exps.weight"
      ),
      ("model.layers.1.mlp.shared_expert.up_proj.weight", [4, 4], "blk.1.ffn_up_shexp.weight"),
      ("model.layers.1.self_attn.v_proj.weight", [4, 4], "blk.1.attn_qkv.weight"),
      ("model.layers.1.mlp.experts.2.up_proj.weight", [4, 4], "blk.1.ffn_gate_up_exps.weight"),
      ("lm_head.weight", [8, 4], "output.weight"),
    ]
    for (name, shape, entry) in tensors {
      let model = try checkpoint("qwen3_moe", [(name, shape)])
      let isStack = entry.contains("_exps")
      let toy = ToyImportance(
        entry, isStack ? Self.experts : [0, 1, 2, 3], isStack ? [1, 1, 1] : [1])
      let importance = try Importance(try matrix([toy]), for: model)
      let isExpert = name.contains("experts.2")
      #expect(
        try importance.weights(for: name) == (isExpert ? Array(toy.sums[8...]) : toy.sums),
        "\(name)")
      #expect(importance.unused == [], "\(name)")
    }
  }

  @Test("the columns of experts that are stored as inputs × outputs all count the same")
  func transposed() throws {
    let model = try checkpoint(
      "gpt_oss",
      [
        ("model.layers.0.mlp.experts.down_proj", [3, 4, 4]),
        ("model.layers.0.self_attn.q_proj.weight", [4, 4]),
      ])
    let importance = try Importance(
      try matrix([
        ToyImportance("blk.0.attn_q.weight", [1, 2, 3, 4], [1]),
        ToyImportance("blk.0.ffn_down_exps.weight", Self.experts, [1, 1, 1]),
      ]), for: model)
    #expect(importance.missing == ["model.layers.0.mlp.experts.down_proj"])
    #expect(importance.unused == [])
  }

  @Test("the width of a model shows whether experts are stored as inputs × outputs")
  func widths() throws {
    // Two experts, a width of 4, and 3 inner columns.
    let name = "model.language_model.layers.0.mlp.experts."
    let entries = [
      ToyImportance("blk.0.attn_q.weight", [1, 2, 3, 4], [1]),
      ToyImportance("blk.0.ffn_gate_exps.weight", [1, 2, 3, 4, 5, 6, 7, 8], [1, 1]),
      ToyImportance("blk.0.ffn_up_exps.weight", [1, 2, 3, 4, 5, 6, 7, 8], [1, 1]),
      ToyImportance("blk.0.ffn_down_exps.weight", [1, 2, 3, 4, 5, 6], [1, 1]),
    ]
    let query = ("model.language_model.layers.0.self_attn.q_proj.weight", [4, 4])
    let straight = [(name + "gate_up_proj", [2, 6, 4]), (name + "down_proj", [2, 4, 3]), query]
    let transposed = [(name + "gate_up_proj", [2, 4, 6]), (name + "down_proj", [2, 3, 4]), query]
    for (tensors, missing) in [(straight, []), (transposed, [0, 1])] {
      let model = try checkpoint("qwen3_vl_moe", tensors, hiddenSize: 4)
      let importance = try Importance(try matrix(entries), for: model)
      #expect(Set(importance.missing) == Set(missing.map { tensors[$0].0 }))
      #expect(importance.unused == [])
      let last = try importance.weights(for: tensors[1].0)
      #expect(last == (missing.isEmpty ? [1, 2, 3, 4, 5, 6] : nil))
    }
    let other = ToyImportance("blk.0.ffn_down_exps.weight", [1, 2, 3, 4, 5, 6, 7, 8], [1, 1])
    let model = try checkpoint("qwen3_vl_moe", transposed, hiddenSize: 4)
    let matrix = try matrix([other])
    let error = Laws.error { () throws(ModelError) in try Importance(matrix, for: model) }
    #expect(error?.kind == .mismatch && error?.found == "8")
    #expect(error?.expected == "2 × 3 numbers for \(name)down_proj")
  }

  @Test("a note names weights whose importance a rule leaves without effect") func notes() throws {
    let names = ["blk.0.attn_q.weight", "blk.0.attn_k.weight"]
    let model = try gguf(names.map { ($0, [4, 32]) })
    let numbers = [Float](repeating: 1, count: 32)
    let importance = try Importance(
      try matrix(names.map { ToyImportance($0, numbers, [1]) }), for: model)
    let target = Destination(path: scratch.path("out.pleat"), format: .pleat)
    for (rules, notes) in [
      ([], []),
      (
        ["*attn_q*=4:32:minmax"],
        [
          "the importance of 1 weight has no effect: the scheme minmax does not use it for "
            + "blk.0.attn_q.weight"
        ]
      ),
    ] as [([String], [String])] {
      let plan = try Plan.quantizing(
        model, try .with(scheme: "search", rules: rules), to: target, weighing: importance)
      #expect(plan.notes == notes)
    }
  }

  @Test("an entry of another size is an error, except for token embeddings") func sizes() throws {
    let model = try gguf([("token_embd.weight", [8, 4]), ("blk.0.attn_q.weight", [4, 4])])
    let query = ToyImportance("blk.0.attn_q.weight", [2, 4, 6, 8], [2])
    let table = ToyImportance("token_embd.weight", [1, 2], [1])
    let importance = try Importance(try matrix([query, table]), for: model)
    #expect(importance.missing == ["token_embd.weight"] && importance.unused == [])
    let long = ToyImportance("blk.0.attn_q.weight", [2, 4, 6, 8, 10], [2])
    let matrix = try matrix([long])
    let error = Laws.error { () throws(ModelError) in try Importance(matrix, for: model) }
    #expect(error?.kind == .mismatch && error?.tensor == long.name && error?.found == "5")
    #expect(error?.expected == "4 numbers for blk.0.attn_q.weight")
  }

  @Test("a matrix with no entry for any weight is that of another model") func others() throws {
    let model = try gguf([("blk.0.attn_q.weight", [4, 4])])
    let matrix = try matrix([ToyImportance("blk.9.attn_q.weight", [1, 1, 1, 1], [1])])
    let error = Laws.error { () throws(ModelError) in try Importance(matrix, for: model) }
    #expect(error?.kind == .mismatch && error?.expected == "blk.0.attn_q.weight")
    #expect(error?.found == "entries such as blk.9.attn_q.weight" && error?.hint != nil)
  }

  @Test("every weight in a layer of a real checkpoint has its entry") func real() throws {
    let matrix = try ImportanceMatrix.read(Fixtures.path("importance/tinylm.gguf"))
    let importance = try Importance(matrix, for: try Model.open(Fixtures.path("tinylm")))
    #expect(
      importance.summary
        == "importance: 42 of 44 weights; missing: lm_head.weight, model.embed_tokens.weight")
    let index = try #require(matrix.index(of: "blk.5.ffn_down.weight"))
    let entry = matrix.entries[index]
    #expect(
      try importance.weights(for: "model.layers.5.mlp.down_proj.weight")
        == entry.weights(in: 0..<entry.valueCount))
  }
}
