internal import Bytes
internal import TensorModel

extension Architecture {
  /// gpt-oss: experts with biases, and attention with sinks.
  static let gptOSS = Architecture(
    ggufName: "gpt-oss", modelTypes: ["gpt_oss"], className: "GptOssForCausalLM",
    interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + [
      ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "post_attention_norm"),
      ("mlp.router", "ffn_gate_inp"),
    ], experts: ExpertKeys(width: "intermediate_size"),
    completeNames: [
      ("self_attn.sinks", ["attn_sinks.weight"]),
      ("mlp.experts.gate_proj.weight", ["ffn_gate_exps.weight"]),
      ("mlp.experts.up_proj.weight", ["ffn_up_exps.weight"]),
      ("mlp.experts.down_proj.weight", ["ffn_down_exps.weight"]),
      ("mlp.experts.gate_proj_bias", ["ffn_gate_exps.bias"]),
      ("mlp.experts.up_proj_bias", ["ffn_up_exps.bias"]),
      ("mlp.experts.down_proj_bias", ["ffn_down_exps.bias"]),
    ],
    otherNames: ["gate_proj", "up_proj", "down_proj"].map {
      ("\(experts)\($0).bias", "\(experts)\($0)_bias")
    },
    arrangements: [
      TensorArrangement(name: "\(gateAndUp)_blocks", runtimes: runners) { tensor, _ in
        interleavedHalves(of: tensor)
      },
      TensorArrangement(name: gateAndUp, runtimes: runners) { tensor, _ in
        interleavedHalves(of: tensor, isTransposed: true)
      },
      TensorArrangement(name: "\(gateAndUp)_bias", runtimes: runners) { tensor, _ in
        interleavedBiases(of: tensor)
      },
      TensorArrangement(name: "\(down)_blocks", runtimes: runners) { tensor, _ in
        whole(tensor, named: "\(down).weight")
      },
      TensorArrangement(name: down, runtimes: runners) { tensor, _ in
        whole(tensor, named: "\(down).weight", isTransposed: true)
      },
      // Decoded, transformers has a row for each input.
      TensorArrangement(name: "\(gateAndUp)_blocks", runtimes: [.transformers]) { tensor, _ in
        whole(tensor, named: gateAndUp, isTransposed: true)
      },
      TensorArrangement(name: "\(down)_blocks", runtimes: [.transformers]) { tensor, _ in
        whole(tensor, named: down, isTransposed: true)
      },
    ],
    returns: [
      TensorReturn(gateAndUp, of: ["ffn_gate_exps.weight", "ffn_up_exps.weight"]) { parts, _ in
        let matrices = parts.compactMap(\.transposedMatrices)
        return matrices.count == parts.count ? .joiningColumns(matrices) : nil
      },
      TensorReturn("\(gateAndUp)_bias", of: ["ffn_gate_exps.bias", "ffn_up_exps.bias"]) {
        parts, _ in .joiningColumns(parts)
      },
      TensorReturn(down, of: ["ffn_down_exps.weight"]) { parts, _ in parts[0].transposedMatrices },
    ], needsHead: true,
    defaults: [
      "rope_theta": 150_000, "sliding_window": 128,
    ],
    hyperparameters: [
      .expertCount, .usedExpertCount, .slidingWindow, .slidingLayers, .expertWidth,
    ],
    traits: RuntimeTraits(
      biases: RuntimeTraits.attention.union(["ffn_gate_inp"]), requiredBiases: ["ffn_gate_inp"],
      biasKeys: [("attention_bias", RuntimeTraits.attention)],
      roundsYarnLimits: true, sliding: .alternating(period: 2),
      limits: [ConfigLimit("swiglu_limit", only: [.number(7)])]))

  private static let runners: Set<Runtime> = [.llamaCpp, .mlxLM]
  private static let experts = "mlp.experts."
  private static let gateAndUp = "\(experts)gate_up_proj"
  private static let down = "\(experts)down_proj"

  /// The matrices for gate and up, whose rows alternate in a stack of both.
  private static func interleavedHalves(
    of stack: TensorInfo, isTransposed: Bool = false
  ) -> [TensorView]? {
    let extents = stack.shape.dimensions
    guard extents.count == 3 else { return nil }
    let (rows, columns) =
      isTransposed ? (extents[2], extents[1]) : (extents[1], extents[2])
    guard rows % 2 == 0,
      let shape = Shape(validating: [extents[0], rows / 2, columns])
    else { return nil }
    return ["gate_proj", "up_proj"].enumerated().map { half, name in
      var view = TensorView(name: "\(experts)\(name).weight", shape: shape, source: 0)
      view.rows = [RowSelection(from: half, count: extents[0] * rows / 2, distance: 2)]
      if isTransposed { view.transposition = .init(matrixRowCount: columns) }
      return view
    }
  }

  private static func interleavedBiases(of biases: TensorInfo) -> [TensorView]? {
    let extents = biases.shape.dimensions
    guard extents.count == 2, extents[1] % 2 == 0,
      let shape = Shape(validating: [extents[0], extents[1] / 2])
    else { return nil }
    return ["gate_proj", "up_proj"].enumerated().map { half, name in
      var view = TensorView(name: "\(experts)\(name)_bias", shape: shape, source: 0)
      view.rows = [RowSelection(from: half, count: shape.elementCount, distance: 2)]
      view.dividesRows = true
      return view
    }
  }

  /// A stack of matrices as it is, or with each of them transposed.
  private static func whole(
    _ stack: TensorInfo, named name: String, isTransposed: Bool = false
  ) -> [TensorView]? {
    let extents = stack.shape.dimensions
    guard extents.count == 3 else { return nil }
    let shape = isTransposed ? [extents[0], extents[2], extents[1]] : extents
    guard let shape = Shape(validating: shape) else { return nil }
    var view = TensorView(name: name, shape: shape, source: 0)
    view.rows = [RowSelection(count: shape.rowCount)]
    if isTransposed { view.transposition = .init(matrixRowCount: extents[1]) }
    return [view]
  }
}
