internal import Architectures
internal import Bytes
internal import TensorModel

extension DecoderShape {
  /// How experts are used; nil without experts.
  ///
  /// Throws `unsupported` for what Pleat does not run.
  static func experts(
    _ config: JSONValue, _ architecture: Architecture, _ parameters: Hyperparameters,
    _ kind: DecoderKind
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
    return Experts(
      count: sizes.count, usedCount: used, router: router, normalizes: normalizes,
      scale: Float(scales.first?.1 ?? 1), groups: try groups(of: sizes.count, parameters, router))
  }

  /// The groups of experts; nil if there is one only, or if routers ignore them.
  private static func groups(
    of count: Int, _ parameters: Hyperparameters, _ router: DecoderKind.Router
  ) throws(ModelError) -> ExpertGroups? {
    guard case .sigmoid = router, let groupCount = parameters.expertGroupCount, groupCount > 1,
      let used = parameters.usedExpertGroupCount
    else { return nil }
    guard count.isMultiple(of: groupCount), count >= 2 * groupCount, used <= groupCount,
      (parameters.usedExpertCount ?? 0) <= used * (count / groupCount)
    else {
      throw refusal(
        "n_group", "groups of equally many experts, at least 2, and enough of them used",
        "\(count) experts in \(groupCount) groups, of which \(used) are used")
    }
    return ExpertGroups(count: groupCount, usedCount: used)
  }
}
