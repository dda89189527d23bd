package import TensorModel

/// What a user may change about a mix, with the meaning of llama-quantize's options.
package struct MixOptions: Sendable, Hashable {
  /// Whether all tensors get the base type.
  package var isPure = false
  /// The type of the output head, and of tied embeddings; nil for that of the mix.
  package var head: Encoding?
  /// The type of token embeddings; nil for that of the mix.
  package var embeddings: Encoding?

  /// Creates options that change nothing.
  package init() {}
}

/// What a rule of the user says about a tensor, instead of the mix.
package struct MixOverride: Sendable, Hashable {
  /// The type, unless the columns do not fill its blocks; nil if the caller decides.
  package let encoding: Encoding?
  /// The reason, in a few words for the user.
  package let reason: String

  /// Creates an override.
  package init(_ encoding: Encoding?, _ reason: String) {
    self.encoding = encoding
    self.reason = reason
  }
}

/// What a mix makes of a tensor.
package struct MixChoice: Sendable, Hashable {
  /// The new type; nil if the tensor keeps its own, or if an override leaves it to the caller.
  package let encoding: Encoding?
  /// The reason, in a few words for the user.
  package let reason: String
  /// Whether it has another type than the rules say, because its columns do not fill the blocks.
  package let isFallback: Bool

  init(_ encoding: Encoding?, _ reason: String, isFallback: Bool = false) {
    self.encoding = encoding
    self.reason = reason
    self.isFallback = isFallback
  }
}
