package import Bytes
package import TensorModel

/// The names under which llama.cpp knows the inputs of a model's weights.
///
/// llama-imatrix measures inputs of matrices, so weights with the same inputs have the same columns,
/// however they are named, stacked or fused.
package struct InputNames: Sendable {
  /// llama.cpp's names for a weight.
  package struct Place: Sendable, Hashable {
    /// The names of weights with these inputs, the best one first; never empty.
    package var names: [String]
    /// The number of the matrix in the stack that the names mean; nil for all of it.
    package var expert: Int?
    /// Whether the weight is stored as inputs × outputs, so that its rows are the inputs.
    package var isTransposed = false
  }

  private let architecture: Architecture?
  private let transposed: TransposedLayers
  private let hiddenSize: Int?

  /// Creates the names of a GGUF model.
  package init() {
    (architecture, hiddenSize) = (nil, nil)
    transposed = TransposedLayers(modelType: nil)
  }

  /// Creates the names of a checkpoint with the config of its text model; nil if it has none.
  ///
  /// Most names are the same for all model types.
  package init(_ config: JSONValue?) {
    let modelType = config?["model_type"]?.string
    architecture = config.flatMap(Architectures.forConfig) ?? Self.usual
    transposed = TransposedLayers(modelType: modelType)
    hiddenSize = config?["hidden_size"]?.int
  }

  /// The place of a weight; nil if llama.cpp's name for it is not known.
  package func place(of tensor: TensorInfo) -> Place? {
    guard let architecture else { return Place(names: Self.related(tensor.name)) }
    // Models have weights that the table of their architecture lacks, such as dense layers.
    let tables = [architecture, Self.usual]
    for table in tables {
      if let found = place(tensor.name, table) ?? matrix(tensor.name, table) { return found }
    }
    var found = tables.lazy.compactMap { stack(tensor.name, $0) }.first
    found?.isTransposed = transposed.transposes(tensor, hiddenSize: hiddenSize)
    return found
  }

  private func place(_ name: String, _ architecture: Architecture) -> Place? {
    guard !architecture.isStack(name) else { return nil }
    let parts = architecture.ggufNames(ofCompleteName: name)
    if !parts.isEmpty { return Place(names: parts.flatMap(Self.related).withoutRepeats) }
    if let found = architecture.ggufName(of: name) { return Place(names: Self.related(found)) }
    return architecture.expert(ofHuggingFaceName: name).map { stack, expert in
      Place(names: Self.related(stack), expert: expert)
    }
  }

  /// The place of a matrix that a checkpoint fuses from several.
  private func matrix(_ name: String, _ architecture: Architecture) -> Place? {
    guard let (path, rest) = FusedLayers.split(name) else { return nil }
    for (fused, parts) in FusedLayers.matrices where rest == fused + ".weight" {
      let names = parts.compactMap { architecture.ggufName(of: "\(path)\($0).weight") }
      if !names.isEmpty { return Place(names: names.flatMap(Self.related).withoutRepeats) }
    }
    return nil
  }

  /// The place of a stack of all experts, as transformers or mlx-lm names it.
  private func stack(_ name: String, _ architecture: Architecture) -> Place? {
    guard let (path, rest) = FusedLayers.split(name) else { return nil }
    let isNamed = rest.hasSuffix(".weight")
    let stem = isNamed ? String(rest.dropLast(".weight".count)) : rest
    var names: [String] = []
    for (fused, parts) in FusedLayers.stacks where stem == fused {
      names += parts.compactMap { part in
        let first = part.split(separator: "*", omittingEmptySubsequences: false)
          .joined(separator: "0")
        return architecture.expert(ofHuggingFaceName: "\(path)\(first).weight")?.ggufName
      }
    }
    if isNamed, MLXNames.isStack(name), let last = stem.split(separator: ".").last,
      let found = Self.usual.expert(ofHuggingFaceName: "\(path)mlp.experts.0.\(last).weight")
    {
      names.append(found.ggufName)
    }
    return names.isEmpty ? nil : Place(names: names.flatMap(Self.related).withoutRepeats)
  }

  /// Weights of llama.cpp that some models fuse into one.
  private static let fused: [(whole: String, parts: [String])] = [
    ("attn_qkv", ["attn_q", "attn_k", "attn_v"]),
    ("ffn_gate_up_exps", ["ffn_gate_exps", "ffn_up_exps"]),
  ]

  /// A name of llama.cpp, and those of the same inputs in models that fuse weights, or do not.
  private static func related(_ name: String) -> [String] {
    var words = name.split(separator: ".").map(String.init)
    guard words.count == 4, words[0] == "blk", words[3] == "weight" else { return [name] }
    let stem = words[2]
    let others = fused.flatMap { whole, parts in
      whole == stem ? parts : parts.contains(stem) ? [whole] : []
    }
    return [name]
      + others.map { other in
        words[2] = other
        return words.joined(separator: ".")
      }
  }

  /// The names that llama.cpp's converter gives the weights of most model types.
  private static let usual = Architecture(
    ggufName: "", modelTypes: [], interleavesRotaryRows: false,
    modelNames: CommonNames.ends + CommonNames.head,
    layerNames: CommonNames.attention + CommonNames.feedForward + CommonNames.router
      + CommonNames.sharedExpert + CommonNames.sharedExperts + [
        ("self_attn.q_a_proj", "attn_q_a"),
        ("self_attn.q_b_proj", "attn_q_b"),
        ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
        ("self_attn.kv_b_proj", "attn_kv_b"),
        ("block_sparse_moe.gate", "ffn_gate_inp"),
      ],
    expertNames: CommonNames.experts + Architecture.mixtral.expertNames, hyperparameters: [])
}

extension [String] {
  /// The texts without those that occur before.
  package var withoutRepeats: [String] {
    reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
