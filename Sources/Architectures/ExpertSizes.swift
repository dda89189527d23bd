internal import TensorModel

/// The keys of `config.json` for the experts of an architecture.
package struct ExpertKeys: Sendable {
  /// The number of experts in a layer: the first key that is stated.
  var counts = ["num_experts", "num_local_experts"]
  /// The number of experts that a token uses.
  var usedCount = "num_experts_per_tok"
  /// The inner width of an expert; nil if it is `intermediate_size`.
  var width: String?
  /// The number of experts that all tokens use, which are one feed-forward network.
  var sharedCount: String?
  /// The inner width of that network; nil if it is the number times the width of an expert.
  var sharedWidth: String?
  /// The number of first layers that have no experts; nil if all layers have.
  var leadingCount: String?
  /// A list with the kind of each layer, `dense` or `sparse`, which comes before `leadingCount`.
  var layerKinds: String?
  /// The key that says whether a model has experts; nil if all models have.
  var flag: String?
  /// The distance of layers with experts; nil if all layers after the first ones have them.
  var interval: String?

  /// The keys of DeepSeek, which others have taken over.
  static let deepSeek = ExpertKeys(
    counts: ["n_routed_experts"], width: "moe_intermediate_size", sharedCount: "n_shared_experts",
    leadingCount: "first_k_dense_replace")
}

/// The numbers that determine the shapes of experts.
package struct ExpertSizes: Sendable, Hashable {
  /// The number of experts in a layer.
  package let count: Int
  /// The inner width of an expert; nil if it is that of a feed-forward network without experts.
  package let width: Int?
  /// The number of experts that all tokens use; nil if the source does not state it.
  package let sharedCount: Int?
  /// The inner width of the feed-forward network that these are; nil without them.
  package let sharedWidth: Int?
  /// The number of first layers that have no experts.
  package let leadingCount: Int
  /// The distance of layers with experts: 2 if each second layer has none, beginning with the first.
  package let interval: Int

  /// Reads the sizes that a config states.
  ///
  /// Throws `malformed` for values that are missing or invalid.
  init(_ values: ConfigValues, _ keys: ExpertKeys) throws(ModelError) {
    let values = values.withoutEqualLists(keys)
    let countKey = keys.counts.first { values[$0] != nil } ?? keys.counts[keys.counts.count - 1]
    count = try values.required(countKey)
    func size(_ key: String?) throws(ModelError) -> Int? {
      guard let key else { return nil }
      return try values.required(key)
    }
    let width = try size(keys.width)
    self.width = width
    func number(_ key: String?) throws(ModelError) -> Int? {
      guard let key else { return nil }
      return try values.wholeNumber(key)
    }
    sharedCount = try number(keys.sharedCount)
    sharedWidth = try size(keys.sharedWidth) ?? Self.product(sharedCount, width)
    let leading = try number(keys.leadingCount)
    interval = try size(keys.interval) ?? 1
    guard let key = keys.layerKinds, let listed = try values.leadingDenseCount(key) else {
      leadingCount = leading ?? 0
      return
    }
    leadingCount = listed
  }

  /// Reads the sizes that the metadata of a GGUF file states; nil without experts.
  ///
  /// Where the metadata does not state how many first layers have no experts, `tensors` show it.
  /// Throws `malformed` for invalid values.
  init?(
    _ values: GGUFValues, _ architecture: Architecture, _ tensors: [TensorInfo]
  ) throws(ModelError) {
    let keys = architecture.experts
    guard values.wholeNumber("expert_count") != 0, let count = try values.count("expert_count")
    else { return nil }
    self.count = count
    let width = try values.count("expert_feed_forward_length")
    self.width = width
    let stated = try values.count("expert_shared_feed_forward_length")
    // Some files state their width together only.
    let derived = keys?.sharedCount == nil ? nil : Self.quotient(stated, width)
    let absent = architecture.hyperparameters.contains(.sharedExpertCountIfAny) ? 0 : nil
    sharedCount = values.wholeNumber("expert_shared_count") ?? derived ?? absent
    let isWidthOfOthers = keys?.sharedWidth != nil && keys?.sharedWidth == keys?.width
    sharedWidth = stated ?? Self.product(sharedCount, width) ?? (isWidthOfOthers ? width : nil)
    leadingCount =
      values.wholeNumber("leading_dense_block_count") ?? Self.firstRouter(tensors) ?? 0
    interval = max(1, values.wholeNumber("interleave_moe_layer_step") ?? 1)
  }

  /// How many experts of a width have another width together; nil if it is not a multiple.
  private static func quotient(_ whole: Int?, _ width: Int?) -> Int? {
    guard let whole, let width, whole.isMultiple(of: width) else { return nil }
    return whole / width
  }

  /// The first layer of a GGUF file that has a router; nil if none has.
  private static func firstRouter(_ tensors: [TensorInfo]) -> Int? {
    tensors.compactMap { tensor in
      let words = tensor.name.split(separator: ".")
      return words.count == 4 && words[2] == "ffn_gate_inp" ? Int(words[1]) : nil
    }.min()
  }

  /// The width of some experts together; nil without them, or if it is too large for an `Int`.
  private static func product(_ count: Int?, _ width: Int?) -> Int? {
    guard let count, let width, count > 0 else { return nil }
    let (product, isTooLarge) = count.multipliedReportingOverflow(by: width)
    return isTooLarge ? nil : product
  }
}
