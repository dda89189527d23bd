package import Bytes
package import TensorModel

/// How mlx-lm names the tensors of a model type, and which of them it cannot read in groups.
///
/// A model type without a line in the table keeps its names. mlx-lm changes many names itself when
/// it loads a model, but not those of scales and biases.
package struct MLXNames: Sendable {
  /// The values of `model_type` in `config.json`, or in its `text_config`.
  let modelTypes: [String]
  /// The changes of names, which are applied in this order.
  var rules: [MLXNameRule] = []
  /// Whether the model has experts; nil if the line is for models with and without.
  var hasExperts: Bool?
  /// Matrices that mlx-lm computes with when it loads a model, and why they need plain numbers.
  var plain: [Exclusion] = []
  /// Matrices that mlx-lm computes with when it loads a model, and that are most of it.
  var refusedGroups: [Exclusion] = []
  /// Tensors that mlx-lm cannot read.
  var refused: [Exclusion] = []
  /// Norms that mlx-lm stores plus 1; the names lack the ending `.weight`.
  var normsPlusOne: [String] = []
  /// Whether mlx-lm stores convolutions as channels × width × 1, not channels × 1 × width.
  package var movesConvolutions = false
  /// The beginnings of names of tensors that mlx-lm does not use, and does not skip.
  var leftOut: [String] = []

  /// Tensors whose names match, and the reason for their treatment.
  struct Exclusion: Sendable {
    /// The pattern of the names; its targets have no effect.
    var names: MLXNameRule
    /// The reason, as a clause that follows "because".
    var reason: String
    /// The key of the config without which the line does not apply; nil if it always applies.
    var key: String?

    init(_ pattern: String, _ reason: String, key: String? = nil) {
      names = MLXNameRule(pattern)
      self.reason = reason
      self.key = key
    }
  }

  /// The names that a tensor gets.
  package struct Renamed: Sendable, Hashable {
    /// The names; several if it is divided.
    package var names: [String]
    /// The number of the matrix in a stack of experts; nil if it becomes no part of a stack.
    package var expert: Int?
  }

  /// The line for model types that the table does not have.
  package static let unknown = MLXNames(modelTypes: [])

  /// The line for a model with a config; one that changes no names if the table has none for it.
  package static func forConfig(_ config: JSONValue) -> MLXNames {
    let text = config["text_config"]
    let hasExperts = hasExperts(text ?? config)
    for type in [config["model_type"]?.string, text?["model_type"]?.string] {
      guard let type else { continue }
      let lines = all.filter { $0.modelTypes.contains(type) }
      guard let line = lines.first(where: { $0.hasExperts ?? hasExperts == hasExperts }) else {
        continue
      }
      return line.applying(config)
    }
    return unknown
  }

  /// Whether a config of a text model states experts.
  static func hasExperts(_ config: JSONValue) -> Bool {
    expertCount(config).map { $0 > 0 } ?? false
  }

  /// The number of experts that a config of a text model states; nil if it states none.
  package static func expertCount(_ config: JSONValue) -> Int? {
    let keys = ["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"]
    return keys.lazy.compactMap { config[$0]?.int }.first
  }

  /// The line for a checkpoint whose names lack the word `model` in front.
  package var prefixed: MLXNames {
    var line = self
    line.rules += ["embed_tokens", "layers", "norm"].map { MLXNameRule("^\($0)", "model.\($0)") }
    return line
  }

  private func applying(_ config: JSONValue) -> MLXNames {
    var line = self
    line.plain.removeAll { exclusion in
      exclusion.key.map { config[$0]?.bool != true } ?? false
    }
    return line
  }

  // MARK: - Names

  /// The names of a tensor in mlx-lm.
  package func renamed(_ name: String) -> Renamed {
    var names = [name.split(separator: ".", omittingEmptySubsequences: false)]
    var expert: Int?
    var isChanged = false
    for rule in rules {
      let found = names.map { rule.applied(to: $0) }
      guard found.contains(where: { $0 != nil }) else { continue }
      names = zip(names, found).flatMap { old, new in new?.names ?? [old] }
      expert = found.lazy.compactMap { $0?.expert }.first ?? expert
      isChanged = true
    }
    guard isChanged else { return Renamed(names: [name]) }
    return Renamed(names: names.map { $0.joined(separator: ".") }, expert: expert)
  }

  /// The names that mlx-lm gives the layers of a tensor, each with the number of its expert if any.
  ///
  /// Expert 3 of `switch_mlp.up_proj.weight` is `switch_mlp.3.up_proj.weight`.
  ///
  /// - Parameters:
  ///   - name: The name of the tensor, as Hugging Face or mlx-lm writes it.
  ///   - expertCount: The number of experts that the tensor stacks; nil if it is no stack.
  /// - Returns: The layers, in the order of their rows in the tensor.
  package func layers(of name: String, expertCount: Int?) -> [String] {
    let renamed = renamed(name)
    guard let expertCount else {
      return renamed.names.map { Self.numbered($0, renamed.expert) }
    }
    return (0..<expertCount).flatMap { expert in
      renamed.names.map { Self.numbered($0, expert) }
    }
  }

  private static func numbered(_ name: String, _ expert: Int?) -> String {
    guard let expert else { return name }
    var words = name.words
    words.insert(Substring("\(expert)"), at: max(0, words.count - 2))
    return words.joined(separator: ".")
  }

  /// Whether mlx-lm does not use a tensor, so that it must be left out.
  package func leavesOut(_ name: String) -> Bool {
    TensorNames.isRotaryTable(name) || Self.isCacheScale(name)
      || leftOut.contains(where: name.hasPrefix)
  }

  /// Whether a tensor is the scale of a cache of keys and values in FP8, which mlx-lm has not.
  private static func isCacheScale(_ name: String) -> Bool {
    name.hasSuffix(".k_scale") || name.hasSuffix(".v_scale")
  }

  /// Whether all tensors keep their names and forms, apart from those that are left out.
  package var keepsTensors: Bool {
    rules.isEmpty && plain.isEmpty && refusedGroups.isEmpty && refused.isEmpty
      && !movesConvolutions
  }

  /// Why a tensor must be stored as plain numbers; nil if groups are possible.
  package func plainReason(_ name: String) -> String? { plain.reason(for: name) }

  /// Why a tensor must not be quantized; nil if it may.
  package func groupRefusal(_ name: String) -> String? { refusedGroups.reason(for: name) }

  /// Why mlx-lm cannot read a tensor in any form; nil if it can.
  package func refusal(_ name: String) -> String? { refused.reason(for: name) }

  /// Whether mlx-lm stores a norm plus 1, if the checkpoint has the form of Hugging Face.
  package func addsOne(_ name: String) -> Bool {
    normsPlusOne.contains { name.hasSuffix($0 + ".weight") }
  }

  /// Whether a tensor is the weight of a convolution over the sequence.
  package static func isConvolution(_ name: String) -> Bool { name.hasSuffix("conv1d.weight") }

  /// Whether a tensor is such a weight as mlx-lm stores it: channels × width × 1.
  package static func isMovedConvolution(_ tensor: TensorInfo) -> Bool {
    // Few tensors have three dimensions, and names take longer to compare.
    guard tensor.shape.rank == 3 else { return false }
    let extents = tensor.shape.dimensions
    return extents[1] > 1 && extents[2] == 1 && isConvolution(tensor.name)
  }

  /// Whether a name is that of a stack of experts in mlx-lm, which transformers does not know.
  package static func isStack(_ name: String) -> Bool {
    name.words.contains { $0 == "switch_mlp" || $0 == "switch_glu" }
  }

  /// The same for a tensor; some model types have no name but the shape of a stack.
  package static func isStack(_ tensor: TensorInfo) -> Bool {
    isStack(tensor.name)
      || tensor.shape.rank == 3
        && matrices.contains { tensor.name.hasSuffix(".experts.\($0).weight") }
  }

  private static let matrices = ["gate_proj", "up_proj", "down_proj"]

  /// The line for GGUF models of an architecture; one that changes no names if there is none.
  package static func forArchitecture(_ ggufName: String) -> MLXNames {
    let types = Architectures.all.filter { $0.ggufName == ggufName }.flatMap(\.modelTypes)
    return all.first { !Set($0.modelTypes).isDisjoint(with: types) } ?? unknown
  }
}

extension [MLXNames.Exclusion] {
  fileprivate func reason(for name: String) -> String? {
    isEmpty ? nil : first { $0.names.matches(name.words) }?.reason
  }
}

extension String {
  fileprivate var words: [Substring] { split(separator: ".", omittingEmptySubsequences: false) }
}
