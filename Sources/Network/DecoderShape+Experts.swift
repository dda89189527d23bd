internal import Architectures
internal import Bytes
internal import TensorModel

extension DecoderShape {
  /// How experts are used; nil without experts.
  ///
  /// Throws `unsupported` for what Pleat does not run.
  static func experts(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters,
    _ kind: DecoderKind, isGGUF: Bool
  ) throws(ModelError) -> Experts? {
    guard let sizes = parameters.sizes.experts else { return nil }
    guard var router = kind.router, let used = parameters.usedExpertCount else {
      throw refusal("num_experts", "a model type with experts", "\(sizes.count) experts")
    }
    if case .byConfig = router {
      router =
        parameters.routersComputeSigmoids == true
        ? .sigmoid(.stated(default: false)) : .softmaxOfChosen
    }
    let scales = zip(architecture.multipliers, parameters.multipliers)
      .filter { $0.0.ggufKey == "expert_weights_scale" }
    let flags = zip(architecture.flags, parameters.flags)
      .filter { $0.0.ggufKey == "expert_weights_norm" }
    let stated = flags.first?.1 ?? config[DecoderKind.normalizationKey]?.bool
    let normalizes: Bool
    switch router {
    case .softmaxOfChosen, .byConfig: normalizes = false
    case .softmax(.always), .sigmoid(.always): normalizes = true
    case .softmax(.stated(let usual)), .sigmoid(.stated(let usual)): normalizes = stated ?? usual
    case .softmax(.never), .sigmoid(.never):
      // Transformers ignores the key in these models, and other programs do not.
      guard stated != true else { throw refusal(DecoderKind.normalizationKey, "false", "true") }
      normalizes = false
    }
    let scored: Int? =
      switch router {
      case .sigmoid: 2
      case .softmax(.never): try scoredCount(config, parameters, isGGUF: isGGUF)
      case .softmax, .softmaxOfChosen, .byConfig: nil
      }
    return Experts(
      count: sizes.count, usedCount: used, router: router, normalizes: normalizes,
      scale: Float(scales.first?.1 ?? 1),
      groups: try scored.flatMap { scored throws(ModelError) in
        try groups(of: sizes.count, parameters, scoredCount: scored)
      })
  }

  /// The key of a config for the choice of experts in DeepSeek 2.
  static let selectionKey = "topk_method"

  /// The number of scores by which DeepSeek 2 compares groups of experts; nil if it ignores them.
  private static func scoredCount(
    _ config: JSONValue, _ parameters: Hyperparameters, isGGUF: Bool
  ) throws(ModelError) -> Int? {
    let ways = ["greedy", "group_limited_greedy"]
    let stated = config[selectionKey]
    guard let way = (stated ?? "greedy").string, ways.contains(way) else {
      throw refusal(
        selectionKey, ways.joined(separator: " or "), JSONWriter.text(stated ?? .null))
    }
    if isGGUF, let count = parameters.expertGroupCount, count > 1 {
      throw ModelError(
        .unsupported, "the file does not state how experts are chosen in groups",
        tensor: "expert_group_count", expected: "1 for deepseek2 with softmax",
        found: "\(count)", hint: "run the checkpoint, whose config.json states \(selectionKey)")
    }
    guard way == ways[1] else { return nil }
    guard parameters.expertGroupCount != nil, parameters.usedExpertGroupCount != nil else {
      throw refusal("n_group", "a number, and topk_group, for \(way)", "nothing")
    }
    return 1
  }

  /// The groups of experts; nil if there is one only.
  private static func groups(
    of count: Int, _ parameters: Hyperparameters, scoredCount: Int
  ) throws(ModelError) -> ExpertGroups? {
    guard let groupCount = parameters.expertGroupCount, groupCount > 1,
      let used = parameters.usedExpertGroupCount
    else { return nil }
    guard count.isMultiple(of: groupCount), count >= scoredCount * groupCount, used <= groupCount,
      (parameters.usedExpertCount ?? 0) <= used * (count / groupCount)
    else {
      throw refusal(
        "n_group",
        "groups of equally many experts, at least \(scoredCount), and enough of them used",
        "\(count) experts in \(groupCount) groups, of which \(used) are used")
    }
    return ExpertGroups(count: groupCount, usedCount: used, scoredCount: scoredCount)
  }
}
