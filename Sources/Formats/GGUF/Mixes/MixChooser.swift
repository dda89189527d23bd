internal import Kernels
package import TensorModel

/// Chooses the type of each tensor of a model for a mix, as llama-quantize does.
///
/// It sees names and shapes only, and reads nothing.
package struct MixChooser {
  private let mix: Mix
  private let model: MixModel
  private let options: MixOptions
  private let matrixEntries: Set<ExactName>

  /// Creates a chooser.
  ///
  /// - Parameters:
  ///   - mix: The mix.
  ///   - model: The facts about the model.
  ///   - options: What the user changes about the mix.
  ///   - matrixEntries: The tensors for which an importance matrix has weights; empty without one.
  package init(
    _ mix: Mix, for model: MixModel, _ options: MixOptions = MixOptions(),
    matrixEntries: Set<ExactName> = []
  ) {
    self.mix = mix
    self.model = model
    self.options = options
    self.matrixEntries = matrixEntries
  }

  /// What is known about all tensors, and how many the rules have seen.
  private struct Counts {
    let isTied: Bool
    let valueCount: Int
    var values = 0
    var downs = 0

    init(_ parts: [MixPart]) {
      isTied = !parts.contains(.head)
      valueCount = parts.count { $0 == .values }
    }
  }

  /// A type and the reason for it.
  private typealias Ruled = (type: BlockType, reason: String)

  /// The choices for all tensors of a model, in their order.
  ///
  /// A tensor with an override does not count as one of the first or of every third.
  ///
  /// - Parameters:
  ///   - tensors: The tensors, with the names of llama.cpp.
  ///   - overriding: What a rule of the user says about a tensor; nil if no rule matches.
  /// - Returns: One choice for each tensor.
  /// - Throws: `malformed` for a layer that the model does not have, `usage` if the mix needs an
  ///   importance matrix, and `mismatch` if the matrix lacks a tensor that needs it.
  package func choices(
    for tensors: [TensorInfo], overriding: (TensorInfo) -> MixOverride? = { _ in nil }
  ) throws(ModelError) -> [MixChoice] {
    let parts = tensors.map { MixPart.named($0.name) }
    var counts = Counts(parts.map(\.part))
    var choices = [MixChoice](repeating: MixChoice(nil, ""), count: tensors.count)
    for index in GGUFTensorOrder.indices(of: tensors.map(\.name)) {
      let tensor = tensors[index]
      let (part, noun) = parts[index]
      let choice = try choice(tensor, part, noun, overriding(tensor), &counts)
      try checkMatrix(tensor, part, choice)
      choices[index] = choice
    }
    return choices
  }

  /// The choice of a pure mix for any tensor that is quantized at all.
  package static func uniformChoice(_ mix: Mix, for tensor: TensorInfo) -> MixChoice {
    fitted(tensor, mix.base.encoding, "pure \(mix.name)")
  }

  private func choice(
    _ tensor: TensorInfo, _ part: MixPart, _ noun: String, _ override: MixOverride?,
    _ counts: inout Counts
  ) throws(ModelError) -> MixChoice {
    if let reason = NeverQuantized.reason(tensor, architecture: model.architecture) {
      return MixChoice(nil, reason)
    }
    if let override, override.encoding == nil { return MixChoice(nil, override.reason) }
    let isNamed = override != nil && MixPart.isPerLayerTable(tensor.name)
    if part == .embeddings, let type = options.embeddings, !isNamed {
      return Self.fitted(tensor, type, "\(noun) in the chosen type")
    }
    if part == .head, let type = options.head {
      return Self.fitted(tensor, type, "\(noun) in the chosen type")
    }
    if let override, let type = override.encoding {
      return Self.fitted(tensor, type, override.reason)
    }
    if options.isPure { return Self.uniformChoice(mix, for: tensor) }
    if part == .embeddings, counts.isTied, let type = options.head {
      return Self.fitted(tensor, type, "\(Self.asHead(noun)), in the chosen type")
    }
    let (type, reason) = try ruled(tensor, part, noun, &counts)
    return Self.fitted(tensor, type.encoding, reason)
  }

  /// The choice for a type, or for its fallback.
  private static func fitted(_ tensor: TensorInfo, _ wanted: Encoding, _ reason: String)
    -> MixChoice
  {
    let columns = tensor.shape.columnCount
    let encoding = MixFallback.fitting(wanted, columnCount: columns)
    guard encoding != wanted, case .foreign(let layout) = wanted else {
      return MixChoice(encoding, reason)
    }
    let divisor = encoding == .plain(.f16) ? 32 : layout.elementCount
    return MixChoice(
      encoding,
      "\(reason), but \(columns) columns are not a multiple of \(divisor): "
        + "\(encoding) instead of \(wanted)", isFallback: true)
  }

  private func checkMatrix(
    _ tensor: TensorInfo, _ part: MixPart, _ choice: MixChoice
  ) throws(ModelError) {
    // A tensor that already has the type is copied.
    guard mix.needsMatrix, choice.encoding == mix.base.encoding, tensor.encoding != choice.encoding,
      part != .head, part != .embeddings
    else { return }
    guard !matrixEntries.isEmpty else {
      throw ModelError(
        .usage, "\(mix.name) needs an importance matrix", tensor: tensor.name,
        expected: "an importance matrix", found: "none", hint: "\(mix.base.name) needs none")
    }
    guard matrixEntries.contains(ExactName(tensor.name)) else {
      throw ModelError(
        .mismatch,
        "the importance matrix has no weights for a tensor that needs them in \(mix.name)",
        tensor: tensor.name, hint: "\(mix.base.name) needs none")
    }
  }
}

// MARK: - Rules

extension MixChooser {
  private func ruled(
    _ tensor: TensorInfo, _ part: MixPart, _ noun: String, _ counts: inout Counts
  ) throws(ModelError) -> Ruled {
    if NeverQuantized.needsEightBits(tensor.name, architecture: model.architecture) {
      return (.q8_0, "a sensitive matrix of GLM 5")
    }
    if part == .head || part == .embeddings && counts.isTied { return head(tensor, part, noun) }
    if mix.isForExperts { return expert(tensor, part, noun) }
    let eight = "\(noun) in a model with 8 experts"
    switch part {
    case .embeddings: return (mix.isTernary ? .q4_K : mix.base, noun)
    case .values:
      defer { counts.values += 1 }
      if model.hasEightExperts { return (.q8_0, eight) }
      let ruled = applied(part, noun, counts.values, of: counts.valueCount)
      let isShort = ruled.type == .q3_K || ruled.type == .q4_K
      return model.isSeventyBillion && isShort ? (.q5_K, "\(noun) of a 70B model") : ruled
    case .keys where model.hasEightExperts: return (.q8_0, eight)
    case .attentionOutput where model.hasEightExperts && !model.isFalcon:
      guard let type = mix.outputForEightExperts else { break }
      return (type, eight)
    case .attentionOutput: return applied(part, noun, 0, of: 0)
    case .down:
      defer { counts.downs += 1 }
      let index = model.expertCount > 1 ? try layer(of: tensor) : counts.downs
      return applied(part, noun, index, of: model.layerCount)
    case .head, .keys, .other: break
    }
    return base
  }

  private var base: Ruled { (mix.base, "base type of \(mix.name)") }

  /// The type by the first rule of the mix that selects a tensor, or the base.
  private func applied(_ part: MixPart, _ noun: String, _ index: Int, of count: Int) -> Ruled {
    for rule in mix.rules
    where rule.applies(to: part, isFalcon: model.isFalcon, hasMatrix: !matrixEntries.isEmpty) {
      let reason = rule.reason(
        noun, index, of: count, keySharing: model.keySharing, mix: mix.name)
      if let reason { return (rule.type, reason) }
    }
    return base
  }

  /// The type of the head, or of embeddings that serve as the head.
  private func head(_ tensor: TensorInfo, _ part: MixPart, _ noun: String) -> Ruled {
    let fills = tensor.shape.columnCount % mix.base.elementCount == 0
    let isSixBits = fills && !mix.isForExperts && !model.isFalcon && mix.base != .q8_0
    return (isSixBits ? .q6_K : .q8_0, part == .head ? noun : Self.asHead(noun))
  }

  private static func asHead(_ noun: String) -> String { "\(noun) that serve as the head" }

  private func expert(_ tensor: TensorInfo, _ part: MixPart, _ noun: String) -> Ruled {
    let stack = tensor.shape.dimensions.dropLast(2).last ?? 1
    let mayBeExpert = model.architecture != "bailingmoe3" || noun.hasPrefix("ffn_")
    if stack > 1, mayBeExpert { return (mix.base, "a stack of matrices") }
    let reason = part == .embeddings ? noun : "not a stack of experts"
    return (.q8_0, reason)
  }

  /// The layer of a tensor.
  ///
  /// Throws `malformed` if the model has no such layer.
  private func layer(of tensor: TensorInfo) throws(ModelError) -> Int {
    let layer = GGUFTensorOrder.layer(of: tensor.name)
    guard let layer, layer < model.layerCount else {
      throw ModelError(
        .malformed, "the name of the tensor contains no layer of the model", tensor: tensor.name,
        expected: "blk.0 to blk.\(model.layerCount - 1)",
        found: layer.map { "blk.\($0)" } ?? "no layer")
    }
    return layer
  }
}
