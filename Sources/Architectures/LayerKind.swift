/// What a layer has, in a model whose layers are not all alike.
package enum LayerKind: Sendable, Hashable, CaseIterable {
  /// Attention to all positions.
  case attention
  /// States instead of attention: linear attention, or a convolution.
  case recurrent
  /// A feed-forward network and no attention.
  case feedForward
  /// Experts and no attention.
  case experts
}
