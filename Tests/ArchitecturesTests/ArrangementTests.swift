import Architectures
import Bytes
import TensorModel
import TestSupport
import Testing

/// Tensors that llama.cpp, mlx-lm and transformers arrange in different ways.
@Suite struct ArrangementTests {
  /// A model type, keys of its config, and tensors of a layer: names, extents.
  struct Case: Sendable, CustomTestStringConvertible {
    var modelType: String
    var config: JSONValue
    var tensors: [(name: String, extents: [Int], isCoded: Bool)]
    var testDescription: String { modelType }
  }

  private static let latent: JSONValue = [
    "num_attention_heads": 3, "kv_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2,
    "v_head_dim": 5,
  ]
  private static let linear: JSONValue = [
    "linear_num_key_heads": 2, "linear_num_value_heads": 6, "linear_key_head_dim": 4,
    "linear_value_head_dim": 4, "linear_conv_kernel_dim": 4,
  ]

  static let cases = [
    Case(
      modelType: "gpt_oss", config: [:],
      tensors: [
        ("mlp.experts.gate_up_proj", [2, 6, 8], false),
        ("mlp.experts.gate_up_proj_bias", [2, 8], false),
        ("mlp.experts.down_proj", [2, 4, 6], false),
      ]),
    Case(
      modelType: "gpt_oss", config: [:],
      tensors: [
        ("mlp.experts.gate_up_proj_blocks", [2, 8, 32], true),
        ("mlp.experts.down_proj_blocks", [2, 6, 32], true),
      ]),
    Case(
      modelType: "qwen3_vl_moe", config: ["hidden_size": 6, "moe_intermediate_size": 4],
      tensors: [
        ("mlp.experts.gate_up_proj", [2, 6, 8], false),
        ("mlp.experts.down_proj", [2, 4, 6], false),
      ]),
    Case(
      modelType: "llama4", config: ["hidden_size": 6, "intermediate_size": 4],
      tensors: [
        ("feed_forward.experts.gate_up_proj", [2, 6, 8], false),
        ("feed_forward.experts.down_proj", [2, 4, 6], false),
      ]),
    Case(
      modelType: "deepseek_v2", config: latent,
      tensors: [("self_attn.kv_b_proj.weight", [27, 6], false)]),
    Case(
      modelType: "deepseek_v3", config: latent,
      tensors: [("self_attn.kv_b_proj.weight", [27, 6], false)]),
    Case(
      modelType: "qwen3_5", config: linear,
      tensors: [
        ("linear_attn.in_proj_qkv.weight", [40, 3], false),
        ("linear_attn.in_proj_z.weight", [24, 3], false),
        ("linear_attn.in_proj_a.weight", [6, 3], false),
        ("linear_attn.in_proj_b.weight", [6, 3], false),
        ("linear_attn.conv1d.weight", [40, 1, 4], false),
        ("linear_attn.A_log", [6], false), ("linear_attn.dt_bias", [6], false),
        ("linear_attn.out_proj.weight", [5, 24], false),
      ]),
    Case(
      modelType: "qwen3_next", config: linear,
      tensors: [
        ("linear_attn.in_proj_qkvz.weight", [64, 3], false),
        ("linear_attn.conv1d.weight", [40, 1, 4], false), ("linear_attn.A_log", [6], false),
      ]),
    Case(
      modelType: "lfm2", config: ["hidden_size": 6],
      tensors: [("conv.conv.weight", [6, 1, 3], false)]),
    Case(
      modelType: "mamba2",
      config: [
        "hidden_size": 6, "num_heads": 4, "n_groups": 2, "state_size": 3, "conv_kernel": 3,
      ],
      tensors: [
        ("mixer.conv1d.weight", [24, 1, 3], false), ("mixer.A_log", [4], false),
        ("mixer.D", [4], false), ("mixer.norm.weight", [12], false),
      ]),
    Case(
      modelType: "falcon_h1",
      config: [
        "mamba_d_ssm": 12, "mamba_n_heads": 4, "mamba_n_groups": 2, "mamba_d_state": 3,
        "key_multiplier": 2, "ssm_multipliers": [1, 2, 3, 4, 5],
      ],
      tensors: [
        ("self_attn.k_proj.weight", [4, 3], false), ("mamba.in_proj.weight", [40, 3], false),
      ]),
  ]

  private func tensors(_ one: Case) throws -> [TensorInfo] {
    try one.tensors.map { name, extents, isCoded in
      TensorInfo(
        name: "model.layers.0.\(name)", shape: try #require(Shape(validating: extents)),
        encoding: isCoded ? .scaled(.mxfp4) : .plain(.bf16))
    }
  }

  /// The index in the source of every number of a view, in order.
  private func indices(_ view: TensorView, of source: Shape) -> [Int] {
    let columns = view.dividesRows ? 1 : source.columnCount
    let runs = RowSelection.runs(view.rows, 0..<view.rows.reduce(0) { $0 + $1.count })
    return runs.flatMap { run in
      (0..<run.count).flatMap { index -> [Int] in
        let row = run.row + index * run.distance
        if let transposition = view.transposition {
          let matrix = row / columns * transposition.matrixRowCount
          return transposition.usedRows.map { (matrix + $0) * columns + row % columns }
        }
        let own = Array(row * columns..<(row + 1) * columns)
        return view.columns?.applied(to: own[...]) ?? own
      }
    }
  }

  @Test("every number of a tensor has one place, so that it could go back", arguments: cases)
  func isInvertible(one: Case) throws {
    let architecture = try #require(Architectures.forModelType(one.modelType))
    let tensors = try tensors(one)
    for runtime in [Runtime.llamaCpp, .mlxLM, .transformers] {
      guard let views = try architecture.views(of: tensors, one.config, for: runtime) else {
        #expect(runtime != .llamaCpp)
        continue
      }
      for (index, tensor) in tensors.enumerated() {
        let own = views.filter { $0.source == index && !$0.rows.isEmpty }
        guard !own.isEmpty else { continue }
        var places: [Int] = []
        for view in own {
          let found = indices(view, of: tensor.shape)
          #expect(found.count == view.shape.elementCount, "\(view.name)")
          places += found
        }
        #expect(places.sorted() == Array(0..<tensor.shape.elementCount), "\(tensor.name)")
      }
      #expect(Set(views.map(\.name)).count == views.count)
    }
  }

  /// The numbers of a view, from those of the tensors that it is read from.
  private func labels(_ view: TensorView, of tensors: [(shape: Shape, labels: [Int])]) -> [Int] {
    let source = tensors[view.source]
    switch view.joining {
    case nil where view.rows.isEmpty: return source.labels
    case nil: return indices(view, of: source.shape).map { source.labels[$0] }
    case .columns(let views, let length)?:
      let parts = views.map { labels($0, of: tensors) }
      return stride(from: 0, to: parts[0].count, by: length).flatMap { start in
        parts.flatMap { $0[start..<start + length] }
      }
    case .rows(let views)?:
      let (whole, width) = (views.flatMap { labels($0, of: tensors) }, view.shape.columnCount)
      let runs = RowSelection.runs(view.rows, 0..<view.shape.rowCount)
      return runs.flatMap { run in
        (0..<run.count).flatMap { index -> ArraySlice<Int> in
          let row = run.row + index * run.distance
          return whole[row * width..<(row + 1) * width]
        }
      }
    }
  }

  @Test("forth and back is the identity", arguments: cases)
  func comesBack(one: Case) throws {
    let architecture = try #require(Architectures.forModelType(one.modelType))
    // Others are multiplied by factors, and keep their places.
    let tensors = try tensors(one).filter {
      $0.scaled == nil && architecture.isReturned($0.name)
    }
    guard architecture.comesBack, !tensors.isEmpty else { return }
    let forth = try #require(try architecture.views(of: tensors, one.config, for: .llamaCpp))
    let originals = tensors.map { (shape: $0.shape, labels: Array(0..<$0.shape.elementCount)) }
    let arranged = try forth.map { view in
      TensorInfo(
        name: try #require(architecture.ggufName(of: view.name)), shape: view.shape,
        encoding: .plain(.bf16))
    }
    let places = forth.map { (shape: $0.shape, labels: labels($0, of: originals)) }
    let back = try #require(try architecture.checkpointViews(of: arranged, one.config))
    #expect(back.map(\.name).sorted() == tensors.map(\.name).sorted())
    for view in back {
      let tensor = try #require(tensors.first { $0.name == view.name })
      #expect(view.shape == tensor.shape, "\(view.name)")
      #expect(
        labels(view, of: places) == Array(0..<tensor.shape.elementCount), "\(view.name)")
      let isLogarithm = view.name.hasSuffix("A_log")
      #expect(view.function == (isLogarithm ? .logarithmOfNegative : .identity))
    }
    // Every tensor of llama.cpp is needed, in its shape.
    for index in arranged.indices {
      var others = arranged
      others.remove(at: index)
      let hasSibling = back.contains { view in
        view.joining?.views.contains { $0.source == index } ?? false
      }
      if hasSibling {
        #expect(throws: ModelError.self) {
          try architecture.checkpointViews(of: others, one.config)
        }
      }
      others = arranged
      others[index].shape = try #require(
        Shape(validating: others[index].shape.dimensions.map { $0 + 1 } + [1]))
      #expect(throws: ModelError.self, "\(arranged[index].name)") {
        try architecture.checkpointViews(of: others, one.config)
      }
    }
  }

  @Test("what mlx-lm arranges as llama.cpp does stays as it is", arguments: cases)
  func sharedArrangements(one: Case) throws {
    let architecture = try #require(Architectures.forModelType(one.modelType))
    let tensors = try tensors(one).filter {
      $0.scaled == nil && architecture.isReturned($0.name)
    }
    guard architecture.comesBack, !tensors.isEmpty else { return }
    func arranged(for runtime: Runtime) throws -> [String]? {
      try architecture.views(of: tensors, one.config, for: runtime)?.map(\.name)
    }
    let forth = try #require(try architecture.views(of: tensors, one.config, for: .llamaCpp))
    let parts = try forth.map { view in
      TensorInfo(
        name: try #require(architecture.ggufName(of: view.name)), shape: view.shape,
        encoding: .plain(.bf16))
    }
    let back = try architecture.checkpointViews(of: parts, one.config, for: .mlxLM)
    let names = try (back?.map(\.name) ?? parts.map(\.name)).map { name in
      architecture.isReturned(name) ? name : try #require(architecture.huggingFaceName(of: name))
    }
    #expect(names.sorted() == (try arranged(for: .mlxLM) ?? tensors.map(\.name)).sorted())
  }

  @Test("mlx-lm multiplies in the type of the weights, and moves convolutions")
  func productsOfMLX() throws {
    let architecture = try #require(Architectures.forModelType("falcon_h1"))
    let one = try #require(Self.cases.first { $0.modelType == "falcon_h1" })
    for type in [ScalarType.bf16, .f16, .f32] {
      var tensors = try tensors(one)
      for index in tensors.indices { tensors[index].encoding = .plain(type) }
      let ours = try #require(try architecture.views(of: tensors, one.config, for: .mlxLM))
      let other = try #require(try architecture.views(of: tensors, one.config, for: .llamaCpp))
      #expect(ours.map(\.productType) == [type, type])
      #expect(other.map(\.productType) == [nil, nil])
      #expect(ours.map(\.factors) == other.map(\.factors))
    }
    let name = "model.layers.0.mamba.conv1d.weight"
    func returned(_ shape: Shape) throws -> TensorView? {
      let tensor = TensorInfo(name: name, shape: shape, encoding: .plain(.bf16))
      return try architecture.views(of: [tensor], one.config, for: .transformers)?.first
    }
    let moved = Shape(24, 4, 1)
    let view = try #require(try returned(moved))
    #expect(view.shape == Shape(24, 1, 4))
    #expect(indices(view, of: moved) == Array(0..<96))
    #expect(try returned(Shape(24, 1, 4)) == nil)
  }

  @Test("stacks of gates and of the other matrix become one for each expert")
  func joinedStacks() throws {
    for (type, name) in [
      ("granitemoe", "block_sparse_moe.input_linear.weight"),
      ("qwen3_5_moe", "mlp.experts.gate_up_proj"),
    ] {
      let architecture = try #require(Architectures.forModelType(type))
      let shape = try #require(Shape(validating: [2, 3, 4]))
      let parts = ["up", "gate"].map {
        TensorInfo(name: "blk.7.ffn_\($0)_exps.weight", shape: shape, encoding: .plain(.f16))
      }
      let views = try #require(try architecture.checkpointViews(of: parts, [:]))
      #expect(views.map(\.name) == ["model.layers.7.\(name)"])
      #expect(views[0].shape.dimensions == [2, 6, 4])
      let places = [
        (shape: shape, labels: Array(100..<124)), (shape: shape, labels: Array(0..<24)),
      ]
      #expect(
        labels(views[0], of: places)
          == Array(0..<12) + Array(100..<112) + Array(12..<24) + Array(112..<124))
    }
  }

  @Test("a tensor of another shape is refused by name", arguments: cases)
  func otherShapes(one: Case) throws {
    let architecture = try #require(Architectures.forModelType(one.modelType))
    for tensor in try tensors(one) {
      var wrong = tensor
      let extents = tensor.shape.dimensions.map { $0 + 1 } + [1]
      wrong.shape = try #require(Shape(validating: extents))
      let error = #expect(throws: ModelError.self) {
        try architecture.views(of: [wrong], one.config, for: .llamaCpp)
      }
      #expect(error?.kind == .malformed)
      #expect(error?.tensor == tensor.name)
    }
  }

  @Test("numbers of a config that are absurd are refused", arguments: cases)
  func absurdNumbers(one: Case) throws {
    let architecture = try #require(Architectures.forModelType(one.modelType))
    let tensors = try tensors(one)
    for member in one.config.members ?? [] {
      // Every number is a factor.
      let values: [JSONValue] =
        member.key.contains("multiplier")
        ? ["text", [1, 2], .number(1e300)]
        : [.number(4_294_967_295), .number(1e18), 0, -1, "text", .null]
      for value in values {
        let config = one.config.setting(member.key, to: value)
        #expect(throws: ModelError.self, "\(member.key)") {
          try architecture.views(of: tensors, config, for: .llamaCpp)
        }
      }
    }
    for tensor in tensors {
      for index in tensor.shape.dimensions.indices {
        var extents = tensor.shape.dimensions
        extents[index] = 0
        var empty = tensor
        empty.shape = try #require(Shape(validating: extents))
        #expect(throws: ModelError.self) {
          try architecture.views(of: [empty], one.config, for: .llamaCpp)
        }
      }
    }
  }

  @Test("tokens without inputs of each layer get those of the first token")
  func missingInputs() throws {
    let architecture = try #require(Architectures.forModelType("gemma3n"))
    let name = "model.language_model.embed_tokens_per_layer.weight"
    let tensor = TensorInfo(
      name: name, shape: try #require(Shape(validating: [3, 4])), encoding: .plain(.bf16))
    func views(_ tokenCount: Int) throws(ModelError) -> [TensorView]? {
      try architecture.views(
        of: [tensor], ["vocab_size": JSONValue(tokenCount)], for: .llamaCpp)
    }
    let view = try #require(try views(5)?.first)
    #expect(view.name == name && view.shape.dimensions == [5, 4])
    #expect(
      indices(view, of: tensor.shape) == Array(0..<12) + Array(0..<4) + Array(0..<4))
    #expect(try views(3) == nil)
    let error = #expect(throws: ModelError.self) { try views(9000) }
    #expect(error?.kind == .malformed && error?.tensor == name)
  }

  @Test("layers that predict several tokens are numbered on from the others")
  func predictionLayers() throws {
    let architecture = try #require(Architectures.forModelType("qwen3_5"))
    let shape = try #require(Shape(validating: [4]))
    let names = [
      ("model.language_model.embed_tokens.weight", "model.language_model.embed_tokens.weight"),
      ("mtp.fc.weight", "model.language_model.layers.8.eh_proj.weight"),
      ("mtp.norm.weight", "model.language_model.layers.8.shared_head.norm.weight"),
      ("mtp.pre_fc_norm_hidden.weight", "model.language_model.layers.8.hnorm.weight"),
      ("mtp.layers.1.mlp.up_proj.weight", "model.language_model.layers.9.mlp.up_proj.weight"),
    ]
    let tensors = names.map { TensorInfo(name: $0.0, shape: shape, encoding: .plain(.f32)) }
    let config = Self.linear.setting("num_hidden_layers", to: 8)
    let views = try #require(try architecture.views(of: tensors, config, for: .llamaCpp))
    #expect(views.map(\.name) == names.map(\.1))
  }
  @Test("experts of Qwen 3 VL keep the other order, and are refused if their sizes fit both")
  func straightExperts() throws {
    let architecture = try #require(Architectures.forModelType("qwen3_vl_moe"))
    func views(_ extents: [Int], hidden: Int, _ runtime: Runtime) throws -> [TensorView]? {
      let shape = try #require(Shape(validating: extents))
      let tensor = TensorInfo(
        name: "model.layers.0.mlp.experts.gate_up_proj", shape: shape, encoding: .plain(.bf16))
      let config: JSONValue = ["hidden_size": JSONValue(hidden), "moe_intermediate_size": 4]
      return try architecture.views(of: [tensor], config, for: runtime)
    }
    for runtime in [Runtime.llamaCpp, .mlxLM] {
      for (extents, isTransposed) in [([2, 8, 6], false), ([2, 6, 8], true)] {
        let found = try #require(try views(extents, hidden: 6, runtime))
        #expect(found.map(\.shape.dimensions) == [[2, 4, 6], [2, 4, 6]])
        #expect(found.allSatisfy { ($0.transposition != nil) == isTransposed })
      }
      let error = #expect(throws: ModelError.self) { try views([2, 8, 8], hidden: 8, runtime) }
      #expect(error?.kind == .unsupported)
    }
  }
}
