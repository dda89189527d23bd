internal import Architectures
internal import Formats
internal import TensorModel
internal import Weights

/// The types that a mix gives to the tensors of a model, whatever their names.
struct MixPlan {
  /// The choices for the tensors of llama.cpp.
  private var choices: [MixChoice] = []
  /// For each tensor the index of its choice; nil for one that llama.cpp has no place for.
  private var indices: [Int?]
  /// The tensors whose choice follows a rule of the user.
  private var ruled: Set<Int> = []

  /// What a mix is applied to.
  struct Subject {
    /// The model that is read.
    var model: Model
    /// The tensors of the output: those of the catalog, and perhaps a head after them.
    var tensors: [TensorInfo]
    /// The index of a head that is left out; nil for none.
    var dropped: Int?
    /// What is known about the importance of columns; nil if nothing is.
    var importance: Importance?
  }

  /// Applies a mix.
  ///
  /// A mix depends on the names of llama.cpp, and on the stacks of its experts, so the tensors of a
  /// checkpoint are translated first; they need not be written under these names.
  ///
  /// - Parameters:
  ///   - mix: The mix.
  ///   - recipe: The options, and the rules that override it.
  ///   - subject: The tensors.
  /// - Throws: What the chooser throws, and `unsupported` for a checkpoint that cannot be translated.
  init(_ mix: Mix, _ recipe: Recipe, for subject: Subject) throws(ModelError) {
    indices = Array(repeating: nil, count: subject.tensors.count)
    // Without special types, a pure mix is the same whatever the names and the model are.
    let isUniform = recipe.isPure && recipe.outputType == nil && recipe.embeddingType == nil
    guard subject.model.isGGUF || !isUniform else {
      for (index, tensor) in subject.tensors.enumerated() where index != subject.dropped {
        indices[index] = choices.count
        choices.append(MixChooser.uniformChoice(mix, for: tensor))
      }
      return
    }
    let views = try subject.model.isGGUF ? nil : subject.model.views(for: .llamaCpp)
    let model = views ?? subject.model
    let added = subject.tensors.dropFirst(subject.model.catalog.tensors.count)
    // Most models have no added head, and adding nothing makes a copy.
    let tensors = added.isEmpty ? model.catalog.tensors : model.catalog.tensors + added
    let sources =
      model.catalog.tensors.indices.map { views?.origin(of: $0) ?? $0 } + added.indices
    let translation = model.isGGUF ? nil : try model.translation(of: tensors)
    // The tensors in llama.cpp's form, each with the indices of those that it is made of.
    var targets: [(info: TensorInfo, members: [Int])] = []
    var positions: [ExactName: Int] = [:]
    for (position, tensor) in tensors.enumerated() where sources[position] != subject.dropped {
      let index = sources[position]
      guard let target = Self.target(tensor, translation.map { $0.placements[position] }) else {
        continue
      }
      if let known = positions[ExactName(target.name)] {
        targets[known].members.append(index)
      } else {
        positions[ExactName(target.name)] = targets.count
        targets.append((target, [index]))
      }
    }
    let entries = targets.filter { target in
      target.members.contains { subject.importance?.contains(subject.tensors[$0].name) ?? false }
    }
    let chooser = MixChooser(
      mix,
      for: try MixModel(
        translation?.metadata ?? subject.model.catalog.metadata, ofPureMix: recipe.isPure),
      try Self.options(recipe), matrixEntries: Set(entries.map { ExactName($0.info.name) }))
    choices = try chooser.choices(for: targets.map(\.info)) { target in
      guard !recipe.rules.isEmpty, let position = positions[ExactName(target.name)] else {
        return nil
      }
      return recipe.override(of: targets[position].members.map { subject.tensors[$0].name })
    }
    for (position, target) in targets.enumerated() {
      // A tensor that llama.cpp divides gets the type of its first part.
      for member in target.members where indices[member] == nil { indices[member] = position }
      if !recipe.rules.isEmpty,
        recipe.override(of: target.members.map { subject.tensors[$0].name }) != nil
      {
        ruled.formUnion(target.members)
      }
    }
  }

  /// The choice for the tensor at an index by a rule of the user; nil if the rule was not heard.
  ///
  /// A mix does not hear rules for some of the experts of a stack only.
  func ruledChoice(at index: Int) -> MixChoice? { ruled.contains(index) ? choice(at: index) : nil }

  /// The choice for the tensor at an index; nil if llama.cpp has no place for it.
  func choice(at index: Int) -> MixChoice? { indices[index].map { choices[$0] } }

  /// A tensor in llama.cpp's form; nil if it is left out.
  ///
  /// Without a translation, the outer optional of `placement` is nil.
  private static func target(_ tensor: TensorInfo, _ placement: TensorPlacement??) -> TensorInfo? {
    guard let placement else { return tensor }
    guard let placement else { return nil }
    var info = tensor
    info.name = placement.name
    info.shape = placement.shape ?? info.shape
    guard let stack = placement.stack,
      let shape = Shape(validating: [stack.count] + info.shape.dimensions)
    else { return info }
    info.shape = shape
    return info
  }

  private static func options(_ recipe: Recipe) throws(ModelError) -> MixOptions {
    var options = MixOptions()
    options.isPure = recipe.isPure
    options.head = try recipe.outputType.map { (name) throws(ModelError) in
      GGMLCodec.blocks(of: try Recipe.encoding(named: name))
    }
    options.embeddings = try recipe.embeddingType.map { (name) throws(ModelError) in
      GGMLCodec.blocks(of: try Recipe.encoding(named: name))
    }
    return options
  }
}

extension Recipe {
  /// What the last rule for tensors means for a mix; nil if no rule is that of all of them.
  fileprivate func override(of names: [String]) -> MixOverride? {
    let found = names.map { name in rules.last { $0.matches(name) } }
    guard let first = found.first, let rule = first, found.allSatisfy({ $0 == rule }) else {
      return nil
    }
    switch rule.choice {
    case .blocks(let encoding): return MixOverride(GGMLCodec.blocks(of: encoding), rule.reason)
    case .keep, .plain, .quantize, .mode: return MixOverride(nil, rule.reason)
    }
  }
}
