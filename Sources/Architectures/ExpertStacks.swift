internal import TensorModel

/// The two stacks of experts of a layer, which some checkpoints store as inputs × outputs.
///
/// llama.cpp and mlx-lm have three stacks, with a row for each output: the first half of the outputs
/// of `gate_up_proj` is the gate.
struct ExpertStacks: Sendable {
  /// What the names in a layer begin with, such as `mlp.experts.`.
  let path: String
  /// The key of a config for the inner width of an expert.
  let width: String
  /// Whether programs also store outputs × inputs, so that a stack that fits both is refused.
  let mayBeStraight: Bool

  /// The three stacks under their complete names, and their names in llama.cpp.
  var names: [(huggingFace: String, gguf: [String])] {
    [("gate_proj", "ffn_gate_exps"), ("up_proj", "ffn_up_exps"), ("down_proj", "ffn_down_exps")]
      .map { (huggingFace: "\(path)\($0).weight", gguf: ["\($1).weight"]) }
  }

  /// How they are read from the two stacks.
  var arrangements: [TensorArrangement] {
    [("gate_up_proj", ["gate_proj", "up_proj"]), ("down_proj", ["down_proj"])].map { name, parts in
      TensorArrangement(name: path + name, runtimes: [.llamaCpp, .mlxLM]) {
        stack, values throws(ModelError) in
        try views(of: stack, named: parts.map { "\(path)\($0).weight" }, values)
      }
    }
  }

  /// How llama.cpp's three stacks become the two again.
  var returns: [TensorReturn] {
    [
      TensorReturn("\(path)gate_up_proj", of: ["ffn_gate_exps.weight", "ffn_up_exps.weight"]) {
        parts, _ in
        let matrices = parts.compactMap(\.transposedMatrices)
        guard matrices.count == parts.count else { return nil }
        return .joiningColumns(matrices, alternating: false)
      },
      TensorReturn("\(path)down_proj", of: ["ffn_down_exps.weight"]) { parts, _ in
        parts[0].transposedMatrices
      },
    ]
  }

  /// The views of a stack, each of an equal number of its outputs; nil if its shape does not fit.
  private func views(
    of stack: TensorInfo, named names: [String], _ values: ConfigValues
  ) throws(ModelError) -> [TensorView]? {
    let (hidden, inner) = (try values.extent("hidden_size"), try values.extent(width))
    let (rows, columns) = names.count == 2 ? (inner, hidden) : (hidden, inner)
    let outputs = names.count * rows
    let extents = stack.shape.dimensions
    guard extents.count == 3 else { return nil }
    let isTransposed = extents[1] == columns && extents[2] == outputs
    let isStraight = mayBeStraight && extents[1] == outputs && extents[2] == columns
    guard isTransposed || isStraight,
      let shape = Shape(validating: [extents[0], rows, columns])
    else { return nil }
    guard isTransposed != isStraight else {
      throw ModelError(
        .unsupported, "experts may be stored in two orders, and the sizes fit both",
        tensor: stack.name, expected: "matrices that are not square",
        found: stack.shape.description)
    }
    return names.enumerated().map { part, name in
      var view = TensorView(name: name, shape: shape, source: 0)
      view.rows = [RowSelection(from: part * rows, [(extents[0], outputs), (rows, 1)])]
      if isTransposed { view.transposition = .init(matrixRowCount: columns) }
      return view
    }
  }
}
