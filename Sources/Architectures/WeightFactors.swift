/// Which weights in NVFP4 llama.cpp multiplies by the factor that stands beside them.
///
/// It reads the factors of most matrices in every architecture, but its graphs do not use all of
/// them. Without its factor a weight would be wrong in silence.
extension Architecture {
  /// The matrices whose products are multiplied in almost every architecture, by `build_qkv` and
  /// `build_attn` of src/llama-graph.cpp.
  private static let multiplied = RuntimeTraits.attention.union(["attn_qkv", "output"])

  /// The architectures whose graphs multiply by the queries' matrix alone.
  private static let ignoresQueries: Set<String> = ["deepseek2"]

  /// llama.cpp's names for the architectures whose graphs pass the factors of the feed-forward
  /// network on, in src/models.
  private static let multipliesFeedForward: Set<String> = [
    "cohere2", "llama", "mellum", "mistral3", "qwen3", "qwen35", "qwen35moe", "qwen3moe",
    "qwen3next",
  ]

  /// Whether llama.cpp multiplies the products of a weight in NVFP4 by the factor beside it.
  ///
  /// - Parameters:
  ///   - ggufName: llama.cpp's name for the weight.
  ///   - hasFeedForwardBias: Whether tensors of the feed-forward network have biases, for which it
  ///     ends the program.
  /// - Returns: Whether it does.
  package func multipliesByFactor(_ ggufName: String, hasFeedForwardBias: Bool) -> Bool {
    let parts = ggufName.split(separator: ".")
    guard parts.count >= 2, parts.last == "weight" else { return false }
    var role = String(parts[parts.count - 2])
    if Self.multiplied.contains(role) {
      return role != "attn_q" || !Self.ignoresQueries.contains(self.ggufName)
    }
    for ending in ["_exps", "_shexp"] where role.hasSuffix(ending) {
      role = String(role.dropLast(ending.count))
    }
    return RuntimeTraits.feedForward.contains(role) && !hasFeedForwardBias
      && Self.multipliesFeedForward.contains(self.ggufName)
  }
}
