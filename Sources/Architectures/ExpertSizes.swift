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

  /// Reads the sizes that a config states.
  ///
  /// Throws `malformed` for values that are missing or invalid.
  init(_ values: ConfigValues, _ keys: ExpertKeys) throws(ModelError) {
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
    guard let key = keys.layerKinds, let listed = try values.leadingDenseCount(key) else {
      leadingCount = leading ?? 0
      return
    }
    leadingCount = listed
  }

  /// Reads the sizes that the metadata of a GGUF file states; nil without experts.
  ///
  /// Throws `malformed` for invalid values.
  init?(_ values: GGUFValues) throws(ModelError) {
    guard values.wholeNumber("expert_count") != 0, let count = try values.count("expert_count")
    else { return nil }
    self.count = count
    let width = try values.count("expert_feed_forward_length")
    self.width = width
    sharedCount = values.wholeNumber("expert_shared_count")
    let stated = try values.count("expert_shared_feed_forward_length")
    sharedWidth = stated ?? Self.product(sharedCount, width)
    leadingCount = values.wholeNumber("leading_dense_block_count") ?? 0
  }

  /// The width of some experts together; nil without them, or if it is too large for an `Int`.
  private static func product(_ count: Int?, _ width: Int?) -> Int? {
    guard let count, let width, count > 0 else { return nil }
    let (product, isTooLarge) = count.multipliedReportingOverflow(by: width)
    return isTooLarge ? nil : product
  }
}
