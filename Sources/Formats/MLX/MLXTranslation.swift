package import Architectures
package import Bytes
package import TensorModel

/// How a Hugging Face checkpoint becomes a model of mlx-lm: names, stacks of experts, and the
/// numbers that mlx-lm stores differently.
///
/// A checkpoint that has these names already keeps all of them.
package struct MLXTranslation: Translation {
  package let runtime = Runtime.mlxLM
  package private(set) var placements: [TensorPlacement?] = []
  package private(set) var notes: [String] = []

  /// Plans the translation of a checkpoint.
  ///
  /// - Parameters:
  ///   - tensors: The tensors of the checkpoint.
  ///   - config: Its `config.json`.
  /// - Throws: `malformed` if experts are missing, or if two tensors become one.
  package init(_ tensors: [TensorInfo], config: JSONValue) throws(ModelError) {
    let names = Self.names(tensors, config)
    notes = Self.notes(tensors, names)
    let copiesEmbeddings = Self.copiesEmbeddings(tensors, config)
    if names.keepsTensors, !copiesEmbeddings {
      placements = tensors.map {
        names.leavesOut($0.name) ? nil : TensorPlacement(name: $0.name)
      }
      return
    }
    let renamed = tensors.map { names.leavesOut($0.name) ? nil : names.renamed($0.name) }
    let counts = try Self.expertCounts(tensors, renamed, config)
    let hasOldConvolutions = tensors.contains(where: Self.isConvolution)
    let isChanged =
      zip(tensors, renamed).contains { tensor, renamed in
        renamed.map { $0.names != [tensor.name] } ?? false
      } || names.movesConvolutions && hasOldConvolutions
    let exclusions = Exclusions(
      names: names, multiplies: names.multipliesWeights && hasOldConvolutions,
      copiesEmbeddings: copiesEmbeddings)
    for (tensor, renamed) in zip(tensors, renamed) {
      guard let renamed else {
        placements.append(nil)
        continue
      }
      var placement = TensorPlacement(name: renamed.names[0])
      placement.otherNames = Array(renamed.names.dropFirst())
      if let expert = renamed.expert, let count = counts[ExactName(placement.name)] {
        placement.stack = .init(index: expert, count: count)
      }
      if isChanged, tensor.shape.rank == 1, names.addsOne(tensor.name) { placement.addend = 1 }
      if names.movesConvolutions, Self.isConvolution(tensor) {
        let extents = tensor.shape.dimensions
        placement.shape = Shape(validating: [extents[0], extents[2], extents[1]])
      }
      placement.groups = exclusions.groups(tensor.name)
      placement.refusal = names.refusal(tensor.name)
      try Self.checkDivides(tensor, placement)
      placements.append(placement)
    }
  }

  /// Checks that mlx-lm loads the checkpoint and computes what its config describes.
  ///
  /// Adds notes about differences that do not matter for all uses. Throws `unsupported` for what
  /// mlx-lm does not compute, and `malformed` for tensors that contradict the config.
  package mutating func check(_ tensors: [TensorInfo], config: JSONValue) throws(ModelError) {
    notes += try MLXChecks(tensors, config: config).notes()
  }

  /// A note about tensors that are left out; none about rotary tables, which are computed again.
  private static func notes(_ tensors: [TensorInfo], _ names: MLXNames) -> [String] {
    let found = tensors.lazy.map(\.name).filter {
      names.leavesOut($0) && !TensorNames.isRotaryTable($0)
    }
    guard let first = found.first else { return [] }
    return ["tensors that mlx-lm does not use are left out: \(found.count), such as \(first)"]
  }

  /// Whether mlx-lm makes the head from the embeddings when it loads the model.
  private static func copiesEmbeddings(_ tensors: [TensorInfo], _ config: JSONValue) -> Bool {
    guard let type = config["model_type"]?.string, MLXHead(ofModelType: type) == .copied else {
      return false
    }
    return !tensors.contains { TensorNames.isHead($0.name) }
  }

  // MARK: - Names

  /// The line of the table for a checkpoint.
  private static func names(_ tensors: [TensorInfo], _ config: JSONValue) -> MLXNames {
    var names = MLXNames.forConfig(config)
    // Models that embed texts are saved without the word that mlx-lm has before all layers.
    if tensors.contains(where: { $0.name == "embed_tokens.weight" }) { names = names.prefixed }
    return names
  }

  /// Whether a tensor is a convolution as transformers stores it: channels × 1 × width.
  private static func isConvolution(_ tensor: TensorInfo) -> Bool {
    let extents = tensor.shape.dimensions
    return MLXNames.isConvolution(tensor.name) && extents.count == 3 && extents[1] == 1
      && extents[2] != 1
  }

  /// Throws `malformed` for a tensor whose matrices cannot be divided into equal runs of rows.
  private static func checkDivides(
    _ tensor: TensorInfo, _ placement: TensorPlacement
  ) throws(ModelError) {
    let count = placement.names.count
    guard count > 1 else { return }
    let rows = tensor.shape.dimensions.dropLast().last ?? 1
    guard tensor.shape.rank >= 2, rows % count == 0 else {
      throw ModelError(
        .malformed, "the rows of the tensor cannot be divided among \(count) tensors",
        tensor: tensor.name, expected: "a multiple of \(count) rows", found: "\(rows) rows")
    }
  }

  // MARK: - Experts

  /// The number of matrices of each stack, by its name.
  ///
  /// Throws `malformed` if a matrix is missing or occurs twice, and if the config states another
  /// number of experts.
  private static func expertCounts(
    _ tensors: [TensorInfo], _ renamed: [MLXNames.Renamed?], _ config: JSONValue
  ) throws(ModelError) -> [ExactName: Int] {
    var experts: [ExactName: Set<Int>] = [:]
    var names: Set<ExactName> = []
    for (tensor, renamed) in zip(tensors, renamed) {
      for name in (renamed?.names ?? []).map(ExactName.init) {
        let isNew: Bool
        if let expert = renamed?.expert {
          isNew = experts[name, default: []].insert(expert).inserted && !names.contains(name)
        } else {
          isNew = names.insert(name).inserted && experts[name] == nil
        }
        guard isNew else {
          throw ModelError(
            .malformed, "two tensors become one in mlx-lm", tensor: tensor.name, found: name.text)
        }
      }
    }
    let stated = MLXNames.expertCount(config["text_config"] ?? config)
    for (name, indices) in experts.sorted(by: { $0.key.text < $1.key.text }) {
      let count = stated ?? indices.count
      guard indices.count == count, indices.max() == count - 1 else {
        throw ModelError(
          .malformed, "experts are missing, or there are more than config.json states",
          tensor: name.text, expected: "experts 0 to \(count - 1)",
          found: "\(indices.count) experts up to \(indices.max() ?? 0)")
      }
    }
    return experts.mapValues(\.count)
  }
}

/// The tensors of a model that mlx-lm does not read in groups.
private struct Exclusions {
  var names: MLXNames
  /// Whether mlx-lm multiplies weights when it loads the model.
  var multiplies: Bool
  /// Whether mlx-lm copies the embeddings when it loads the model.
  var copiesEmbeddings: Bool

  /// Whether mlx-lm reads a tensor in groups.
  func groups(_ name: String) -> TensorPlacement.Groups {
    if multiplies {
      return .refused("mlx-lm multiplies weights of the model when it loads it")
    }
    if let reason = names.groupRefusal(name) { return .refused(reason) }
    if let reason = names.plainReason(name) { return .plain(reason) }
    if copiesEmbeddings, TensorNames.isEmbedding(name) {
      return .plain("mlx-lm copies the embeddings as head when it loads the model")
    }
    return .allowed
  }
}
