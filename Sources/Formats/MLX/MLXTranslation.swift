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
    let families = TensorFamilies(tensors)
    let areLeftOut = families.representatives.map { names.leavesOut($0.name) }
    notes = Self.notes(families, areLeftOut)
    let copiesEmbeddings = Self.copiesEmbeddings(families, config)
    if names.keepsTensors, !copiesEmbeddings {
      placements = zip(tensors, families.members).map { tensor, member in
        areLeftOut[member.family] ? nil : TensorPlacement(name: tensor.name)
      }
      return
    }
    let renamed = Self.renamed(families, names, areLeftOut)
    let counts = try Self.expertCounts(families, renamed, config)
    let hasOldConvolutions = families.representatives.contains(where: Self.isConvolution)
    let isChanged =
      zip(tensors, renamed).contains { tensor, renamed in
        renamed.map { $0.names != [tensor.name] } ?? false
      } || names.movesConvolutions && hasOldConvolutions
    let exclusions = Exclusions(names: names, copiesEmbeddings: copiesEmbeddings)
    placements.reserveCapacity(tensors.count)
    var known: [TensorPlacement?] = Array(repeating: nil, count: families.families.count)
    for (index, tensor) in tensors.enumerated() {
      guard let renamed = renamed[index] else {
        placements.append(nil)
        continue
      }
      let (family, expert) = families.members[index]
      if var placement = known[family], let expert {
        placement.stack?.index = expert
        placements.append(placement)
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
      if renamed.isShared(by: expert) { known[family] = placement }
    }
  }

  /// Checks that mlx-lm loads the checkpoint and computes what its config describes.
  ///
  /// Adds notes about differences that do not matter for all uses. Throws `unsupported` for what
  /// mlx-lm does not compute, and `malformed` for tensors that contradict the config.
  package mutating func check(_ tensors: [TensorInfo], config: JSONValue) throws(ModelError) {
    notes += try MLXChecks(TensorFamilies(tensors), config: config).notes()
  }

  /// A note about tensors that are left out; none about rotary tables, which are computed again.
  private static func notes(_ families: TensorFamilies, _ areLeftOut: [Bool]) -> [String] {
    let found = zip(families.tensors, families.members).filter { tensor, member in
      areLeftOut[member.family] && !TensorNames.isRotaryTable(tensor.name)
    }
    guard let (first, _) = found.first else { return [] }
    return [
      "tensors that mlx-lm does not use are left out: \(found.count), such as \(first.name)"
    ]
  }

  /// Whether mlx-lm makes the head from the embeddings when it loads the model.
  private static func copiesEmbeddings(_ families: TensorFamilies, _ config: JSONValue) -> Bool {
    guard let type = config["model_type"]?.string, MLXHead(ofModelType: type) == .copied else {
      return false
    }
    return !families.representatives.contains { TensorNames.isHead($0.name) }
  }

  /// The names of each tensor in mlx-lm; nil for those that are left out.
  private static func renamed(
    _ families: TensorFamilies, _ names: MLXNames, _ areLeftOut: [Bool]
  ) -> [MLXNames.Renamed?] {
    var known: [MLXNames.Renamed?] = Array(repeating: nil, count: families.families.count)
    return zip(families.tensors, families.members).map { tensor, member in
      guard !areLeftOut[member.family] else { return nil }
      if var renamed = known[member.family] {
        renamed.expert = member.expert
        return renamed
      }
      let renamed = names.renamed(tensor.name)
      if renamed.isShared(by: member.expert) { known[member.family] = renamed }
      return renamed
    }
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
    _ families: TensorFamilies, _ renamed: [MLXNames.Renamed?], _ config: JSONValue
  ) throws(ModelError) -> [ExactName: Int] {
    var experts: [ExactName: Set<Int>] = [:]
    var names: Set<ExactName> = []
    var keys: [[ExactName]?] = Array(repeating: nil, count: families.families.count)
    for (index, tensor) in families.tensors.enumerated() {
      guard let renamed = renamed[index] else { continue }
      let (family, expert) = families.members[index]
      let own = keys[family] ?? renamed.names.map(ExactName.init)
      if renamed.isShared(by: expert) { keys[family] = own }
      for name in own {
        let isNew: Bool
        if let expert = renamed.expert {
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
  /// Whether mlx-lm copies the embeddings when it loads the model.
  var copiesEmbeddings: Bool

  /// Whether mlx-lm reads a tensor in groups.
  func groups(_ name: String) -> TensorPlacement.Groups {
    if let reason = names.groupRefusal(name) { return .refused(reason) }
    if let reason = names.plainReason(name) { return .plain(reason) }
    if copiesEmbeddings, TensorNames.isEmbedding(name) {
      return .plain("mlx-lm copies the embeddings as head when it loads the model")
    }
    return .allowed
  }
}

extension MLXNames.Renamed {
  /// Whether all experts of a family get these names; `expert` is the number of the one with them.
  ///
  /// Experts that become no stack keep their numbers in their names.
  fileprivate func isShared(by expert: Int?) -> Bool { self.expert != nil && self.expert == expert }
}
