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

extension Architecture {
  /// The distance of layers with full attention among those with sliding attention; nil if no layer
  /// has that.
  package var slidingPeriod: Int? {
    switch traits.sliding {
    case .alternating(let period), .alternatingAfterFirst(let period): period
    case .none, .ignored, .unsupported: nil
    }
  }

  /// Whether each layer has sliding attention, as llama.cpp assumes; nil if no layer has.
  package func usualSlidingLayers(_ layerCount: Int) -> [Bool]? {
    switch traits.sliding {
    case .alternating(let period): return (1...layerCount).map { $0 % period != 0 }
    case .alternatingAfterFirst(let period): return (0..<layerCount).map { $0 % period != 0 }
    case .none, .ignored, .unsupported: return nil
    }
  }
}
